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
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := sources.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
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
		"Open":             func() error { _, err := tare.Open(none, "host", store); return err },
		"OpenPool":         func() error { _, err := tare.OpenPool(none, "host", tare.PoolSize{}, store); return err },
		"Open, nil Option": func() error { _, err := tare.Open(context.Background(), "host", store, nil); return err },
		"CommandContext":   func() error { return open(t).CommandContext(none, "true").Run() },
		"OpenOn":           func() error { _, err := tare.OpenOn(context.Background(), nil); return err },
		"OpenIn":           func() error { _, err := tare.OpenIn(none, "/"); return err },
		"OpenPoolOn":       func() error { _, err := tare.OpenPoolOn(none, &tare.Image{}, tare.PoolSize{}); return err },
		"Unpack":           func() error { _, err := tare.Unpack(none, "oci:/x", "/x", nil); return err },
		"UnpackLayer":      func() error { _, err := tare.UnpackLayer(nil, "/tmp", nil); return err },
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
	_, closed := (&tare.Sandbox{}).ReadFile("/etc/passwd")
	_, taken := (&tare.Pool{}).Take(ctx)
	_, listed := (&tare.ImageStore{}).Images()
	_, inspected := (&tare.Image{}).Inspect()
	_, waited := (&tare.Process{}).Wait()
	_, read := (&tare.Terminal{}).Read(nil)
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
		"tare.OpenStore": func() error {
			_, err := openStore(t).Images()
			return err
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
	for _, err := range []error{closed, taken, listed, inspected, waited, read, (&tare.Cmd{}).Run()} {
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
