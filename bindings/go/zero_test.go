// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"context"
	"embed"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	tare "github.com/libtare/libtare/bindings/go"
)

//go:embed *.go
var sources embed.FS

// zeros has a value of each exported type with methods.
var zeros = []any{
	tare.Cmd{}, tare.Error{}, tare.Events{}, tare.ExitError{}, tare.Files{}, tare.Image{}, tare.ImageStore{}, tare.Pool{},
	tare.Process{},
	tare.ProcessState{}, tare.Sandbox{}, tare.Terminal{},
}

// harmless are the methods that return an error on purpose.
var harmless = map[string]bool{
	"Error.Unwrap": true,
}

// exported are the exported types with exported methods, as the sources have
// them.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	names, err := fs.Glob(sources, "*.go")
	ok(t, err)
	for _, name := range names {
		text, err := sources.ReadFile(name)
		ok(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		ok(t, err)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, declared := range file.Decls {
			method, ok := declared.(*ast.FuncDecl)
			if !ok || method.Recv == nil || !method.Name.IsExported() {
				continue
			}
			receiver := method.Recv.List[0].Type
			if pointer, ok := receiver.(*ast.StarExpr); ok {
				receiver = pointer.X
			}
			if of, ok := receiver.(*ast.Ident); ok && of.IsExported() {
				found[of.Name] = true
			}
		}
	}
	return found
}

// calls each exported method with a path or zero arguments, and those of the
// results.
func calls(t *testing.T, what string, value reflect.Value) {
	t.Helper()
	for n := 0; n < value.NumMethod(); n++ {
		method := value.Type().Method(n)
		name := what + "." + method.Name
		t.Run(name, func(t *testing.T) {
			defer func() {
				if why := recover(); why != nil {
					t.Errorf("%s panics: %v", name, why)
				}
			}()
			of := method.Type
			var arguments []reflect.Value
			for in := 1; in < of.NumIn() && !(of.IsVariadic() && in == of.NumIn()-1); in++ {
				argument := reflect.Zero(of.In(in))
				if argument.Kind() == reflect.String {
					argument = reflect.ValueOf("tmp").Convert(argument.Type())
				}
				arguments = append(arguments, argument)
			}
			results := value.Method(n).Call(arguments)
			fails := of.NumOut() > 0 && of.Out(of.NumOut()-1) == reflect.TypeOf((*error)(nil)).Elem()
			if fails && results[len(results)-1].IsNil() && !harmless[strings.TrimLeft(name, "*(nil)")] {
				t.Errorf("%s is no error", name)
			}
			for _, result := range results {
				switch result.Interface().(type) {
				case *tare.Cmd, fs.FS:
					calls(t, name+"()", reflect.ValueOf(result.Interface()))
				}
			}
		})
	}
}

func TestZeroValuesAndNilAreErrors(t *testing.T) {
	left := exported(t)
	for _, zero := range zeros {
		of := reflect.TypeOf(zero)
		delete(left, of.Name())
		calls(t, of.Name(), reflect.New(of))
		calls(t, "(nil)*"+of.Name(), reflect.Zero(reflect.PointerTo(of)))
	}
	for name := range left {
		t.Errorf("%s has exported methods and no zero value in the table", name)
	}
}

func TestFunctionsTakeNilWithoutAPanic(t *testing.T) {
	var none context.Context
	store := tare.Store(t.TempDir())
	for name, call := range map[string]func() error{
		"Open":             func() error { return errOf(tare.Open(none, "host", store)) },
		"OpenPool":         func() error { return errOf(tare.OpenPool(none, "host", tare.PoolSize{}, store)) },
		"Open, nil Option": func() error { return errOf(tare.Open(context.Background(), "host", store, nil)) },
		"CommandContext":   func() error { return open(t).CommandContext(none, "true").Run() },
		"OpenOn":           func() error { return errOf(tare.OpenOn(context.Background(), nil)) },
		"OpenIn":           func() error { return errOf(tare.OpenIn(none, "/")) },
		"OpenPoolOn":       func() error { return errOf(tare.OpenPoolOn(none, &tare.Image{}, tare.PoolSize{})) },
		"Unpack":           func() error { return errOf(tare.Unpack(none, "oci:/x", "/x", nil)) },
		"UnpackLayer":      func() error { return errOf(tare.UnpackLayer(nil, "/tmp", nil)) },
		"ImageCommand":     func() error { return open(t).ImageCommand(none).Run() },
		"CommandIn":        func() error { return tare.CommandIn(none, "/", nil, "true").Run() },
		"CommandIn, nil Option": func() error {
			return tare.CommandIn(context.Background(), "/", []tare.Option{nil}, "true").Run()
		},
		"Cmd by hand": func() error { return (&tare.Cmd{Path: "true"}).Run() },
		"Signal":      func() error { return (&tare.Process{}).Signal(nil) },
	} {
		if err := call(); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestWhatWasNeverOpenedIsOpenedAsItsErrorSays(t *testing.T) {
	ctx := context.Background()
	sb := open(t)
	cure := func(err error) string {
		t.Helper()
		var wrong *tare.Error
		if !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		return wrong.Cure
	}
	cures := map[string]func() error{
		"tare.Open":                              func() error { return sb.Reset() },
		"Command or CommandContext of a sandbox": func() error { return sb.Command("true").Run() },
		"start it by its Cmd": func() error {
			cmd := sb.Command("true")
			if err := cmd.Start(); err != nil {
				return err
			}
			_, err := cmd.Process.Wait()
			return err
		},
		"StartTerminal of a Cmd": func() error {
			terminal, err := sb.CommandContext(ctx, "true").StartTerminal(24, 80)
			if err != nil {
				return err
			}
			return terminal.Close()
		},
		"tare.OpenPool": func() error {
			pool, err := tare.OpenPool(ctx, "host", tare.PoolSize{Min: 1}, tare.Store(t.TempDir()))
			if err != nil {
				return err
			}
			return pool.Close()
		},
		"tare.OpenStore": func() error { return errOf(openStore(t).Images()) },
		"Events of a sandbox": func() error {
			// Only root has a count of kills.
			if !isMachineRoot(t) {
				return nil
			}
			return errOf(open(t, tare.Memory(64<<20)).Events())
		},
		"Image or Import of a store": func() error {
			image, err := openStore(t).Image(ctx, "dir:/", nil)
			if err != nil {
				return err
			}
			if _, err := image.Inspect(); err != nil {
				return err
			}
			return image.Close()
		},
	}
	for _, err := range []error{
		errOf((&tare.Sandbox{}).ReadFile("/etc/passwd")), errOf((&tare.Pool{}).Take(ctx)), (&tare.Cmd{}).Run(),
		errOf((&tare.ImageStore{}).Images()), errOf((&tare.Image{}).Inspect()), errOf((&tare.Process{}).Wait()),
		errOf((&tare.Terminal{}).Read(nil)), errOf((&tare.Events{}).Next(ctx)),
	} {
		follow, known := cures[cure(err)]
		if !known {
			t.Errorf("%v", err)
			continue
		}
		delete(cures, cure(err))
		if failed := follow(); failed != nil {
			t.Errorf("%v: %v", err, failed)
		}
	}
	for cure := range cures {
		t.Errorf("%q is in no error", cure)
	}
}
