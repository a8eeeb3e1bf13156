// SPDX-License-Identifier: MIT OR Apache-2.0

// Code generated from docs/schema/spec.json by `make schema`. DO NOT EDIT.

//go:build cgo

package tare

// Write sets write. Place of writes to the root. Default: `memory`.
func Write(value string) Option {
	return Spec("write", value)
}

// Storage sets storage. Copy-on-write back end of the root. Default: `auto`.
func Storage(value string) Option {
	return Spec("storage", value)
}

// Mount adds to mounts. More mounts, in order, each `SOURCE:TARGET[:options]`
// or a table. Default: empty.
func Mount(values ...string) Option {
	return Spec("mounts", append([]string{}, values...))
}

// Env sets an entry of env. Environment over the image's own. Default: empty.
func Env(name, value string) Option {
	return Spec("env", map[string]string{name: value})
}

// Workdir sets workdir. Working directory; a missing one is made in an image,
// but not in `host` or below a mount. Default: the image's, else `/`.
func Workdir(value string) Option {
	return Spec("workdir", value)
}

// User sets user. `USER[:GROUP]`, by name or number. Default: the image's, else
// `0:0`.
func User(value string) Option {
	return Spec("user", value)
}

// Groups adds to groups. Supplementary groups of every command, by name or
// number, besides those that `/etc/group` gives its user. Default: empty.
func Groups(values ...string) Option {
	return Spec("groups", append([]string{}, values...))
}

// Hostname sets hostname. Host name inside. Default: the first twelve digits of
// the sandbox's id.
func Hostname(value string) Option {
	return Spec("hostname", value)
}

// ExtraHosts adds to extra_hosts. Lines of `/etc/hosts`, each `NAME:ADDRESS` or
// `NAME=ADDRESS`. Default: empty.
func ExtraHosts(values ...string) Option {
	return Spec("extra_hosts", append([]string{}, values...))
}

// Sysctl sets an entry of sysctls. Kernel parameters of the sandbox's own
// namespaces, sysctl(8): `{"net.core.somaxconn": "1024"}`. Default: Docker's
// two, which let everyone ping and listen on any port.
func Sysctl(name, value string) Option {
	return Spec("sysctls", map[string]string{name: value})
}

// Network sets network. Visible network. Default: `none`, a loopback of its
// own. Spec gives a table.
func Network(value string) Option {
	return Spec("network", value)
}

// Memory sets limits.memory, in bytes. Memory, page cache and tmpfs included.
// Default: no limit.
func Memory(bytes int64) Option {
	return Spec("limits", map[string]any{"memory": bytes})
}

// Swap sets limits.swap, in bytes. Swap on top of `memory`, not the sum of
// both. Default: no limit; `"0"` forbids swap.
func Swap(bytes int64) Option {
	return Spec("limits", map[string]any{"swap": bytes})
}

// CPUs sets limits.cpus. Processor time, in processors: `1.5`. Default: no
// limit.
func CPUs(n float64) Option {
	return Spec("limits", map[string]any{"cpus": n})
}

// CPUWeight sets limits.cpu_weight. Share of processor time, 1 to 10000; others
// have 100. Default: not set.
func CPUWeight(n int64) Option {
	return Spec("limits", map[string]any{"cpu_weight": n})
}

// Cpuset sets limits.cpuset. Processors to run on, as in cpuset(7): `"0-2,4"`.
// Default: all.
func Cpuset(value string) Option {
	return Spec("limits", map[string]any{"cpuset": value})
}

// Pids sets limits.pids. Processes and threads. Default: no limit.
func Pids(n int64) Option {
	return Spec("limits", map[string]any{"pids": n})
}

// IO sets limits.io. Share of block input and output, 1 to 10000; others have
// 100. Default: not set.
func IO(n int64) Option {
	return Spec("limits", map[string]any{"io": n})
}

// Disk sets limits.disk, in bytes. Size of the writable layer, which must be in
// memory. A file, directory or link is allowed for each 4 KiB, but never fewer
// than 1,024. Default: the kernel's, half of memory.
func Disk(bytes int64) Option {
	return Spec("limits", map[string]any{"disk": bytes})
}

// Shm sets limits.shm, in bytes. Size of `/dev/shm`, which bounds its files as
// `disk` does. Default: `64m`, as Docker's.
func Shm(bytes int64) Option {
	return Spec("limits", map[string]any{"shm": bytes})
}

// Output sets limits.output, in bytes. Bytes captured of a command's output,
// both streams together. A command that writes more is killed with the reason
// `output`. Default: `64m`.
func Output(bytes int64) Option {
	return Spec("limits", map[string]any{"output": bytes})
}

// Rlimits sets an entry of limits.rlimits. Resource limits by name as in
// getrlimit(2), without `RLIMIT_`, in lower case: `{"nofile": "1024:4096"}`.
// Default: the caller's own, but `core` 0.
func Rlimits(name, value string) Option {
	return Spec("limits", map[string]any{"rlimits": map[string]string{name: value}})
}

// Profile sets security.profile. Start of the lists below. Default: `default`,
// Docker's.
func Profile(value string) Option {
	return Spec("security", map[string]any{"profile": value})
}

// CapAdd sets security.cap_add. Capabilities added to the profile's, as
// `NET_ADMIN`, `CAP_NET_ADMIN` or `ALL`. Default: empty.
func CapAdd(values ...string) Option {
	return Spec("security", map[string]any{"cap_add": append([]string{}, values...)})
}

// CapDrop sets security.cap_drop. Capabilities taken from the profile's, before
// adding. Default: empty.
func CapDrop(values ...string) Option {
	return Spec("security", map[string]any{"cap_drop": append([]string{}, values...)})
}

// Seccomp sets security.seccomp. The system call filter. Default: the
// profile's. Spec gives a table.
func Seccomp(value string) Option {
	return Spec("security", map[string]any{"seccomp": value})
}

// NoNewPrivs sets security.no_new_privs. No rights gained from setuid programs.
// Default: true; false with `privileged`.
func NoNewPrivs(on bool) Option {
	return Spec("security", map[string]any{"no_new_privs": on})
}

// MaskedPaths sets security.masked_paths. Hidden paths. Default: Docker's list.
func MaskedPaths(values ...string) Option {
	return Spec("security", map[string]any{"masked_paths": append([]string{}, values...)})
}

// ReadonlyPaths sets security.readonly_paths. Read-only paths. Default:
// Docker's list.
func ReadonlyPaths(values ...string) Option {
	return Spec("security", map[string]any{"readonly_paths": append([]string{}, values...)})
}

// Devices sets security.devices. Visible devices of the host besides Docker's
// six, `/dev/fuse` or `/dev/sda:/dev/xvda:rwm`. Default: empty.
func Devices(values ...string) Option {
	return Spec("security", map[string]any{"devices": append([]string{}, values...)})
}

// DeviceRules sets security.device_rules. Devices that commands may use through
// any node, cgroups(7): `c 10:200 rwm`, `b 8:* r`, `a`. Default: Docker's.
func DeviceRules(values ...string) Option {
	return Spec("security", map[string]any{"device_rules": append([]string{}, values...)})
}

// Init sets init. Process 1. Default: `tare`, the resident init.
func Init(value string) Option {
	return Spec("init", value)
}

// BestEffort adds to best_effort. Keys that may be left out where this machine
// cannot enforce them. `effective` lists each that was left out. Default:
// empty, so such a key is an error.
func BestEffort(values ...string) Option {
	return Spec("best_effort", append([]string{}, values...))
}

// Label sets an entry of labels. Free text of the caller, shown in `effective`.
// Default: empty.
func Label(name, value string) Option {
	return Spec("labels", map[string]string{name: value})
}

// tables are the keys whose values are put together key by key.
var tables = []string{"env", "sysctls", "limits", "limits.rlimits", "security", "namespaces", "labels"}

// lists are the keys whose values are added to those before.
var lists = []string{"mounts", "groups", "extra_hosts", "best_effort"}
