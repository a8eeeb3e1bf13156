// SPDX-License-Identifier: MIT OR Apache-2.0

// The cases through the Go package: go STORE.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

// wanted is the next command, from the lines before it.
type wanted struct {
	argv, env []string
	cwd, user string
	timeout   time.Duration
	input     []byte
	pipe      bool
	merged    bool
	rlimits   map[string]tare.Rlimit
	capAdd    []string
	capDrop   []string
	umask     *os.FileMode
}

// running is a started command, and its input.
type running struct {
	cmd      *tare.Cmd
	input    io.WriteCloser
	out, err bytes.Buffer
}

type face struct {
	store     string
	sandbox   *tare.Sandbox
	next      wanted
	processes map[string]*running
	events    *tare.Events
	telling   sync.Mutex
	told      []string           // Keys that lines of the log say were left out.
	last      *tare.ProcessState // Of the last command that ended.
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func unescape(text string) string {
	var to strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			to.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case 'n':
			to.WriteByte('\n')
		case 'x':
			b, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			check(err)
			to.WriteByte(byte(b))
			i += 2
		default:
			to.WriteByte(text[i])
		}
	}
	return to.String()
}

func escape(data []byte) string {
	var to strings.Builder
	for _, b := range data {
		switch {
		case b == '\n':
			to.WriteString(`\n`)
		case b == '\\':
			to.WriteString(`\\`)
		case b >= 32 && b < 127:
			to.WriteByte(b)
		default:
			fmt.Fprintf(&to, `\x%02x`, b)
		}
	}
	return to.String()
}

// wentWell returns whether a step succeeded; an error is printed.
func wentWell(err error) bool {
	var failure *tare.Error
	if err == nil {
		return true
	}
	if !errors.As(err, &failure) {
		fmt.Println("> error", err)
		return false
	}
	fmt.Printf("> error %s %d %s\n", failure.Kind, int(failure.Errno), failure.Step)
	return false
}

// done prints a word of a step that went well.
func done(err error, word string) {
	if wentWell(err) {
		fmt.Println(">", word)
	}
}

func number(limit string) uint64 {
	if limit == "unlimited" {
		return tare.Unlimited
	}
	n, err := strconv.ParseUint(limit, 10, 64)
	check(err)
	return n
}

func (f *face) take(word, text string) bool {
	n := &f.next
	switch word {
	case "sh":
		n.argv = []string{"sh", "-c", unescape(text)}
	case "arg":
		n.argv = append(n.argv, unescape(text))
	case "env":
		n.env = append(n.env, unescape(text))
	case "cwd":
		n.cwd = text
	case "user":
		n.user = text
	case "timeout":
		seconds, err := strconv.ParseFloat(text, 64)
		check(err)
		n.timeout = time.Duration(seconds * float64(time.Second))
	case "input":
		n.input = []byte(unescape(text))
	case "input_size":
		size, err := strconv.Atoi(text)
		check(err)
		n.input = bytes.Repeat([]byte("x"), size)
	case "rlimit":
		name, limit, _ := strings.Cut(text, " ")
		soft, hard, two := strings.Cut(limit, ":")
		if !two {
			hard = soft
		}
		if n.rlimits == nil {
			n.rlimits = map[string]tare.Rlimit{}
		}
		n.rlimits[name] = tare.Rlimit{Soft: number(soft), Hard: number(hard)}
	case "cap_add":
		n.capAdd = append(n.capAdd, text)
	case "cap_drop":
		n.capDrop = append(n.capDrop, text)
	case "umask":
		bits, err := strconv.ParseUint(text, 8, 32)
		check(err)
		mask := os.FileMode(bits)
		n.umask = &mask
	case "stdin":
		n.pipe = true
	case "stderr":
		n.merged = true
	default:
		return false
	}
	return true
}

// command is the next command, not yet started.
func (f *face) command() *running {
	n := f.next
	r := &running{cmd: f.sandbox.Command(n.argv[0], n.argv[1:]...)}
	r.cmd.Env, r.cmd.Dir, r.cmd.User, r.cmd.Timeout = n.env, n.cwd, n.user, n.timeout
	r.cmd.Rlimits, r.cmd.CapAdd, r.cmd.CapDrop, r.cmd.Umask = n.rlimits, n.capAdd, n.capDrop, n.umask
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	if n.merged {
		r.cmd.Stderr = &r.out
	}
	if n.input != nil {
		r.cmd.Stdin = bytes.NewReader(n.input)
	}
	if n.pipe {
		input, err := r.cmd.StdinPipe()
		check(err)
		r.input = input
	}
	return r
}

// start starts the next command.
func (f *face) start() (*running, error) {
	r := f.command()
	return r, r.cmd.Start()
}

func sayStream(name string, data []byte) {
	sum := 0
	for _, b := range data {
		sum += int(b)
	}
	if len(data) > 200 {
		fmt.Printf("> %s %d bytes, sum %d\n", name, len(data), sum)
	} else if len(data) > 0 {
		fmt.Printf("> %s %s\n", name, escape(data))
	}
}

func (f *face) sayEnd(r *running, err error) {
	var exit *tare.ExitError
	if err != nil && !errors.As(err, &exit) {
		wentWell(err)
		return
	}
	state := r.cmd.ProcessState
	f.last = state
	switch state.Reason() {
	case "exited":
		fmt.Println("> exited", state.ExitCode())
	case "signaled":
		fmt.Println("> signaled", int(state.Signal()))
	default:
		fmt.Print("> ", state.Reason())
		if code := state.ExitCode(); code != -1 {
			fmt.Print(" with exit code ", code)
		}
		fmt.Println()
	}
	sayStream("stdout", r.out.Bytes())
	sayStream("stderr", r.err.Bytes())
	if kills := state.OOMKills(); kills > 0 {
		fmt.Println("> oom_kills", kills)
	}
}

func (f *face) memoryPeak(mib string) {
	least, err := strconv.ParseUint(mib, 10, 64)
	check(err)
	peak := f.last.MemoryPeak()
	switch {
	case peak == 0:
		fmt.Println("> memory_peak unknown")
	case peak>>20 >= least:
		fmt.Println("> memory_peak at least", mib)
	default:
		fmt.Println("> memory_peak below", mib)
	}
}

// end closes the earlier sandbox.
func (f *face) end() {
	if f.sandbox != nil {
		wentWell(f.sandbox.Close())
		f.sandbox = nil
	}
}

func (f *face) open(text string) {
	f.end()
	image, options := f.options(text)
	sandbox, err := tare.Open(context.Background(), image, options...)
	if wentWell(err) {
		f.sandbox = sandbox
	}
}

func (f *face) options(text string) (string, []tare.Option) {
	var keys map[string]any
	check(json.Unmarshal([]byte(text), &keys))
	options := []tare.Option{tare.Store(f.store)}
	for key, value := range keys {
		if key != "image" {
			options = append(options, tare.Spec(key, value))
		}
	}
	return keys["image"].(string), options
}

func (f *face) openFromPool(text string) {
	f.end()
	image, options := f.options(text)
	pool, err := tare.OpenPool(context.Background(), image, tare.PoolSize{Min: 1, Max: 2}, options...)
	if !wentWell(err) {
		return
	}
	sandbox, err := pool.Take(context.Background())
	if wentWell(err) {
		f.sandbox = sandbox
	}
	wentWell(pool.Close())
}

func (f *face) ofCommand(word, name, rest string) bool {
	r := f.processes[name]
	switch word {
	case "run":
		started, err := f.start()
		if wentWell(err) {
			f.sayEnd(started, started.cmd.Wait())
		}
	case "spawn":
		started, err := f.start()
		if wentWell(err) {
			f.processes[name] = started
			fmt.Println("> spawned")
		}
	case "wait":
		f.sayEnd(r, r.cmd.Wait())
	case "run_beside":
		f.runBeside(name, rest)
	case "memory_peak":
		f.memoryPeak(name)
	case "send":
		_, err := io.WriteString(r.input, unescape(rest))
		check(err)
	case "eof":
		check(r.input.Close())
	case "signal":
		number, err := strconv.Atoi(rest)
		check(err)
		wentWell(r.cmd.Process.Signal(syscall.Signal(number)))
	case "kill":
		wentWell(r.cmd.Process.Kill())
	case "kill_found":
		found, err := f.sandbox.Process(r.cmd.Process.ID())
		if wentWell(err) && wentWell(found.Kill()) {
			fmt.Println("> found")
		}
	default:
		return false
	}
	return true
}

func (f *face) usage(key string) {
	used, err := f.sandbox.Used()
	if !wentWell(err) {
		return
	}
	text, err := json.Marshal(used)
	check(err)
	var figures map[string]*uint64
	check(json.Unmarshal(text, &figures))
	if figures[key] == nil {
		key += " not"
	}
	fmt.Println(">", key, "counted")
}

// hear takes a line of the log.
func (f *face) hear(_ tare.LogLevel, line string) {
	if _, rest, found := strings.Cut(line, ": left out "); found {
		key, _, _ := strings.Cut(rest, ":")
		f.telling.Lock()
		defer f.telling.Unlock()
		f.told = append(f.told, key)
	}
}

func sayKeys(word string, keys []string) {
	if len(keys) == 0 {
		keys = []string{"nothing"}
	}
	fmt.Println(">", word, strings.Join(keys, " "))
}

func (f *face) leftOut() {
	said, err := f.sandbox.Effective()
	if !wentWell(err) {
		return
	}
	var effective struct {
		LeftOut []struct{ Key string } `json:"left_out"`
	}
	check(json.Unmarshal(said, &effective))
	var keys []string
	for _, one := range effective.LeftOut {
		keys = append(keys, one.Key)
	}
	sayKeys("left_out", keys)
}

// watch has events told from now on.
func (f *face) watch() {
	events, err := f.sandbox.Events()
	if wentWell(err) {
		f.events = events
		fmt.Println("> watching")
	}
}

// event waits for the next.
func (f *face) event() {
	event, err := f.events.Next(context.Background())
	switch {
	case !wentWell(err):
	case event.Gone:
		fmt.Println("> event gone")
	default:
		fmt.Println("> event oom", event.OOMKills)
	}
}

func (f *face) step(word, text string) {
	name, rest, _ := strings.Cut(text, " ")
	switch {
	case word == "open":
		f.open(text)
	case word == "take":
		f.openFromPool(text)
	case word == "reset":
		done(f.sandbox.Reset(), "reset")
	case word == "freeze":
		done(f.sandbox.Freeze(), "frozen")
	case word == "thaw":
		done(f.sandbox.Thaw(), "thawed")
	case word == "limit":
		var limits map[string]any
		check(json.Unmarshal([]byte(text), &limits))
		done(f.sandbox.SetLimits(limits), "limited")
	case word == "commands":
		running, err := f.sandbox.Commands()
		if wentWell(err) {
			fmt.Printf("> %d run\n", len(running))
		}
	case word == "usage":
		f.usage(text)
	case word == "left_out":
		f.leftOut()
	case word == "told":
		f.telling.Lock()
		sayKeys("told", f.told)
		f.told = nil
		f.telling.Unlock()
	case word == "watch":
		f.watch()
	case word == "event":
		f.event()
	case word == "close":
		done(f.sandbox.Close(), "closed")
		f.sandbox = nil
	case f.ofCommand(word, name, rest), f.ofFile(word, name, rest):
	default:
		check(fmt.Errorf("no such word: %s", word))
	}
}

func main() {
	f := face{store: os.Args[1], processes: map[string]*running{}}
	tare.SetLog(f.hear, tare.LogWarning)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, text, _ := strings.Cut(lines.Text(), " ")
		switch {
		case word == "case":
			f.next = wanted{}
			fmt.Println("case", text)
		case word == "" || word[0] == '#' || word[0] == '>' || f.take(word, text):
		default:
			f.step(word, text)
			if word == "run" || word == "spawn" || word == "run_beside" {
				f.next = wanted{}
			}
		}
	}
	check(lines.Err())
	if f.sandbox != nil {
		check(f.sandbox.Close())
	}
}
