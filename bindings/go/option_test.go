// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"strings"
	"testing"
)

func TestOptionsInAnyOrderLoseNothing(t *testing.T) {
	for _, c := range []struct {
		options []Option
		want    string
	}{
		{
			[]Option{Memory(64 << 20), Spec("limits", map[string]any{"pids": 10})},
			`{"image":"host","limits":{"memory":67108864,"pids":10}}`,
		},
		{
			[]Option{Spec("limits", map[string]int{"pids": 10}), Memory(64 << 20), Shm(1), Disk(2), Swap(0)},
			`{"image":"host","limits":{"disk":2,"memory":67108864,"pids":10,"shm":1,"swap":0}}`,
		},
		{
			[]Option{Env("A", "1"), Spec("env", map[string]string{"B": "2"}), Env("C", "3"), Label("a.b", "c")},
			`{"env":{"A":"1","B":"2","C":"3"},"image":"host","labels":{"a.b":"c"}}`,
		},
		{
			[]Option{
				Spec("limits", map[string]any{"rlimits": map[string]any{"nofile": 10, "core": 1}}),
				Spec("limits", map[string]any{"rlimits": map[string]any{"core": 0}, "io": 200}),
			},
			`{"image":"host","limits":{"io":200,"rlimits":{"core":0,"nofile":10}}}`,
		},
		{
			[]Option{
				Spec("security", struct {
					Seccomp string   `json:"seccomp"`
					Add     []string `json:"cap_add"`
				}{"off", []string{"NET_RAW"}}),
				Spec("security", map[string]any{"cap_add": []string{}, "no_new_privs": false}),
			},
			`{"image":"host","security":{"cap_add":[],"no_new_privs":false,"seccomp":"off"}}`,
		},
		{
			[]Option{Mount("/a:/a"), Spec("mounts", []string{"/b:/b", "/c:/c"}), Mount("/d:/d")},
			`{"image":"host","mounts":["/a:/a","/b:/b","/c:/c","/d:/d"]}`,
		},
		{
			[]Option{
				Spec("groups", []string{"7"}), Spec("sysctls", map[string]string{"net.a": "1"}),
				Spec("groups", []string{"8"}), Spec("sysctls", map[string]string{"net.b": "2"}),
			},
			`{"groups":["7","8"],"image":"host","sysctls":{"net.a":"1","net.b":"2"}}`,
		},
		// A filter, or a network, is not merged with another.
		{
			[]Option{Spec("network", map[string]any{"join": "/run/netns/a"}), Network("host")},
			`{"image":"host","network":"host"}`,
		},
		// A value of a wrong type stays, so that Open refuses it.
		{[]Option{Spec("limits", 3), Memory(1)}, `{"image":"host","limits":3}`},
		{[]Option{Memory(1), Spec("limits", nil)}, `{"image":"host","limits":null}`},
		{[]Option{Spec("mounts", "/a:/a"), Mount("/b:/b")}, `{"image":"host","mounts":"/a:/a"}`},
		{[]Option{Memory(1<<53 + 1), Memory(1<<63 - 1)}, `{"image":"host","limits":{"memory":9223372036854775807}}`},
	} {
		_, said, err := specOf("host", c.options)
		if err != nil || string(said) != c.want {
			t.Errorf("%s, %v; want %s", said, err, c.want)
		}
	}
}

func TestOptionsLeaveTheCallersValuesAlone(t *testing.T) {
	limits := map[string]any{"pids": 10}
	if _, _, err := specOf("host", []Option{Spec("limits", limits), Memory(1)}); err != nil || len(limits) != 1 {
		t.Fatalf("%v, %v", limits, err)
	}
	_, _, err := specOf("host", []Option{Spec("labels", map[string]any{"a": func() {}}), Label("b", "c")})
	if err == nil || !strings.Contains(err.Error(), "labels") {
		t.Fatal(err)
	}
}

func TestSizesAreReadAsTheLibraryWritesThem(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "1000": 1000, "1k": 1 << 10, "64m": 64 << 20, "3g": 3 << 30, "2t": 2 << 40,
		"18446744073709551615": 1<<64 - 1,
	} {
		if size, err := byteSize(text); err != nil || size != want {
			t.Errorf("%s is %d, %v", text, size, err)
		}
	}
	for _, text := range []string{"", "k", "-1", "1x", "18446744073709551615k", "1.5m"} {
		if size, err := byteSize(text); err == nil {
			t.Errorf("%q is %d", text, size)
		}
	}
}
