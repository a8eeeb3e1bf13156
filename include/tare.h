/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tare.h: containers as a library. An image in, an isolated throwaway command out, no daemon.
 *
 *     tare_store *store;
 *     tare_sandbox *sandbox;
 *     tare_output *output;
 *     const char *argv[] = {"id", "-u", NULL};
 *     tare_command command = TARE_COMMAND_INIT;
 *     command.argv = argv;
 *     tare_error *e = tare_store_open(NULL, &store);
 *     if (!e) e = tare_sandbox_open(store, NULL, 0, &sandbox);
 *     if (!e) e = tare_sandbox_run(sandbox, &command, &output);
 *     if (e) fprintf(stderr, "%s\n", tare_error_message(e));
 *     else fputs(tare_output_stdout(output, NULL), stdout);
 *
 * This file is generated from the library's sources and is its manual. Compile and link with
 * `pkg-config --cflags --libs tare`. C99 and later, C++11 and later. Linux 5.10 and later, x86-64.
 *
 * Errors. A function that can fail returns a tare_error: NULL is success, anything else belongs to
 * the caller and is freed with tare_error_free(). It may be read from any thread. What goes to the
 * caller comes last among the arguments and is written on success only; `..._or_null` may be NULL.
 *
 * Handles. A tare_store, tare_image, tare_importing, tare_sandbox, tare_opening, tare_events, tare_pool,
 * tare_process, tare_output, tare_dir, tare_bytes and tare_error is named by a pointer that points to nothing: the library looks it up in a table. NULL,
 * a handle of another type, one that was freed or closed, or any other pointer is an error of kind
 * TARE_KIND_INVALID, or does nothing where a function returns no error; never a crash, and never
 * another object. After fork(2) the child has the parent's handles but no part in its sandboxes:
 * they are errors there, and it may open its own. If another thread was inside a call when the process
 * forked, the child may only execute another program, as fork(2) says of threaded programs in general.
 *
 * Other pointers cannot be checked beyond NULL and alignment. Texts end with a NUL; paths hold any
 * bytes, other texts are UTF-8. Nothing is kept of what arguments point to after a call returns.
 *
 * Threads. Every function may be called from any thread, and any number of calls may use the same
 * handle at once; each is as if alone. Freeing or closing a handle does not pull it from under a
 * call that runs in another thread, but texts, bytes and descriptors that were read from it are gone.
 *
 * Stack. A call needs at most 128 KiB of its thread's stack, for images and sandboxes of any size. Progress
 * functions come on top, and so do modules of nsswitch.conf(5) that ask other machines for users.
 *
 * Signals. No function is async-signal-safe: a handler calls none of them, and does not leave one by longjmp(3).
 * A handler that interrupts a call changes nothing of it: the call goes on, and none ends with EINTR. SIGCHLD
 * may have any disposition, and be blocked or waited for. SIGPIPE comes from tare_file_get_tar() alone, for a
 * pipe of the caller's. The library sets no handler.
 *
 * Cancellation. pthread_cancel(3) does not interrupt a call, and no call is a cancellation point, nor is a progress
 * function inside of one: the call ends as usual, and the cancellation takes effect behind it. With the asynchronous
 * type that is before the caller sees the result; what went to `*out` is there. To end a call early, end what it
 * waits for: tare_process_kill(), tare_sandbox_close(), the descriptor of tare_process_wait_unless().
 *
 * Structs begin with their size, which the caller sets: `tare_status status = TARE_STATUS_INIT;`, or of
 * an array `all[i].size = sizeof all[i]`. Zero is the default of every other field: the initializer of
 * each such struct sets them so. Later versions append fields. A shorter struct than the library's is as if
 * followed by zeros, and only its own length is written; a longer one is taken if what the library does not
 * know is zero.
 *
 * JSON texts come with a length. An unknown key is an error that names its nearest neighbour. The keys
 * of a spec are the same in every language. A dot leads into a table. docs/spec.md has the types.
 *
 *   image: Image reference: `host`, `dir:PATH`, `oci:PATH[:TAG]`, `archive:FILE` or
 *      `NAME[:TAG][@DIGEST]` in the store. Default: `host`, the machine with all that is mounted.
 *   write: Place of writes to the root. Default: `memory`.
 *   storage: Copy-on-write back end of the root. Default: `auto`.
 *   mounts: More mounts, in order, each `SOURCE:TARGET[:options]` or a table. Default: empty.
 *   env: Environment over the image's own. Default: empty.
 *   workdir: Working directory; a missing one is made in an image, but not in `host` or below a
 *      mount. Default: the image's, else `/`.
 *   user: `USER[:GROUP]`, by name or number. Default: the image's, else `0:0`.
 *   groups: Supplementary groups of every command, by name or number, besides those that
 *      `/etc/group` gives its user. Default: empty.
 *   hostname: Host name inside. Default: the first twelve digits of the sandbox's id.
 *   extra_hosts: Lines of `/etc/hosts`, each `NAME:ADDRESS` or `NAME=ADDRESS`. Default: empty.
 *   sysctls: Kernel parameters of the sandbox's own namespaces, sysctl(8): `{"net.core.somaxconn":
 *      "1024"}`. Default: Docker's two, which let everyone ping and listen on any port.
 *   network: Visible network. Default: `none`, a loopback of its own.
 *   limits: Ceilings on what commands may use. Default: `output` alone.
 *   limits.memory: Memory, page cache and tmpfs included. Default: no limit.
 *   limits.swap: Swap on top of `memory`, not the sum of both. Default: no limit; `"0"` forbids
 *      swap.
 *   limits.cpus: Processor time, in processors: `1.5`. Default: no limit.
 *   limits.cpu_weight: Share of processor time, 1 to 10000; others have 100. Default: not set.
 *   limits.cpuset: Processors to run on, as in cpuset(7): `"0-2,4"`. Default: all.
 *   limits.pids: Processes and threads. Default: no limit.
 *   limits.io: Share of block input and output, 1 to 10000; others have 100. Default: not set.
 *   limits.disk: Size of the writable layer, which must be in memory. A file, directory or link is
 *      allowed for each 4 KiB, but never fewer than 1,024. Default: the kernel's, half of memory.
 *   limits.shm: Size of `/dev/shm`, which bounds its files as `disk` does. Default: `64m`, as
 *      Docker's.
 *   limits.output: Bytes captured of a command's output, both streams together. A command that
 *      writes more is killed with the reason `output`. Default: `64m`.
 *   limits.rlimits: Resource limits by name as in getrlimit(2), without `RLIMIT_`, in lower case:
 *      `{"nofile": "1024:4096"}`. Default: the caller's own, but `core` 0.
 *   security: Capabilities, seccomp, masks and devices. Default: Docker's, plus `no_new_privs`.
 *   security.profile: Start of the lists below. Default: `default`, Docker's.
 *   security.cap_add: Capabilities added to the profile's, as `NET_ADMIN`, `CAP_NET_ADMIN` or
 *      `ALL`. Default: empty.
 *   security.cap_drop: Capabilities taken from the profile's, before adding. Default: empty.
 *   security.seccomp: The system call filter. Default: the profile's.
 *   security.no_new_privs: No rights gained from setuid programs. Default: true; false with
 *      `privileged`.
 *   security.masked_paths: Hidden paths. Default: Docker's list.
 *   security.readonly_paths: Read-only paths. Default: Docker's list.
 *   security.devices: Visible devices of the host besides Docker's six, `/dev/fuse` or
 *      `/dev/sda:/dev/xvda:rwm`. Default: empty.
 *   security.device_rules: Devices that commands may use through any node, cgroups(7): `c 10:200
 *      rwm`, `b 8:* r`, `a`. Default: Docker's.
 *   namespaces: Namespaces of the sandbox's own. Default: all; `user` for ordinary users only.
 *   namespaces.user: Default: `auto`.
 *   namespaces.ipc: System V IPC and POSIX message queues of its own. Default: true.
 *   namespaces.uts: Host name of its own. Default: true.
 *   namespaces.cgroup: A view of cgroups that begins at the sandbox's own. Default: true.
 *   init: Process 1. Default: `tare`, the resident init.
 *   best_effort: Keys that may be left out where this machine cannot enforce them. `effective`
 *      lists each that was left out. Default: empty, so such a key is an error.
 *   labels: Free text of the caller, shown in `effective`. Default: empty.
 *
 * The host process. The library never exits, aborts, forks or re-executes it; never changes its
 * working directory, umask, environment, signal handlers or mask, terminal, limits, nor flags of its
 * descriptors; never waits for a child that is not its own; starts no thread that outlives a call, but for
 * tare_store_begin_import() and tare_sandbox_begin(), which say when; runs nothing when it is loaded. Its descriptors are close-on-exec. A panic, which would be a bug,
 * ends as an error of kind TARE_KIND_INTERNAL; its place is told on standard error. When the host
 * ends, even by SIGKILL, so does everything that it opened. The helper process stands in `/`, in a session
 * of its own: signals for the host's process group do not reach it. It is no child of the host, unless the
 * host is process 1 or a subreaper (PR_SET_CHILD_SUBREAPER): there the kernel makes it one, and a wait for
 * all children does not end while a store with a sandbox is open. The helper ends with the last handle of
 * its store and of its sandboxes, whose free or close takes its status. What cannot be promised: when memory
 * runs out while the library allocates, the process is aborted.
 *
 * Authority. A sandbox is made with what the calling thread is: its ids, groups, capabilities, namespaces and root
 * directory. A host that gives something up, by setresuid(2), capset(2), unshare(2) or in one thread alone, opens the next
 * sandbox with what is left, or gets an error; tare_pool_take() and tare_sandbox_reset() open, too. What is open stays
 * what it was. Landlock and seccomp filters are not seen: apply them before the first sandbox of a store is opened.
 *
 * Static programs. libtare.a defines the names of this file and no others: a program may have a libzstd of its
 * own, and other libraries in Rust. `gcc -static` links with it, and the program runs where no library is. The
 * linker warns of getpwuid_r and getgrgid_r: they know the users of /etc/passwd, others only where the same glibc
 * is installed. Their answers matter for HOME in the view of the host, for lines of /etc/subuid with the user's
 * name, and for groups that are the user's alone. There is no libtare for musl.
 *
 * File sizes. Under RLIMIT_FSIZE, a call that would have to write beyond fails with EFBIG. SIGXFSZ is kept from the
 * calling thread meanwhile.
 *
 * Versions. Names are only ever added, in a symbol version of the release that adds them: `Since`.
 */


#ifndef TARE_H
#define TARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __linux__
#include <features.h>
#endif
#if !defined(__GLIBC__) || !defined(__x86_64__)
#error "libtare is for Linux on x86-64 and made with glibc, not musl; try: gcc -static, whose programs need no libc there"
#endif


/**
 * The version that this header is of.
 */
#define TARE_VERSION_MAJOR 0

/**
 * The version that this header is of.
 */
#define TARE_VERSION_MINOR 1

/**
 * The version that this header is of.
 */
#define TARE_VERSION_PATCH 0

/**
 * Notes of images, and keys of `best_effort` that were left out.
 */
#define TARE_LOG_WARNING 2

/**
 * Opening, running, resetting, closing, importing.
 */
#define TARE_LOG_DEBUG 4

/**
 * The caller's own words are wrong: a spec, a reference, an argument, a
 * handle.
 */
#define TARE_KIND_INVALID 1

/**
 * The named image, file or program is not there.
 */
#define TARE_KIND_NOT_FOUND 2

/**
 * Something is already where a new thing was to be made.
 */
#define TARE_KIND_EXISTS 3

/**
 * The kernel or a file's mode says no.
 */
#define TARE_KIND_PERMISSION 4

/**
 * This machine lacks a feature; the cure names the necessary change.
 */
#define TARE_KIND_UNSUPPORTED 5

/**
 * Bytes from outside do not hold together: a wrong digest, a hostile archive.
 */
#define TARE_KIND_CORRUPT 6

/**
 * No space, no memory, no descriptors, no handles left.
 */
#define TARE_KIND_EXHAUSTED 7

/**
 * Another process holds the object.
 */
#define TARE_KIND_BUSY 8

/**
 * The program was found but cannot be executed.
 */
#define TARE_KIND_NOT_EXECUTABLE 9

/**
 * The sandbox, or the helper process, went away.
 */
#define TARE_KIND_BROKEN 10

/**
 * Any other error of the operating system; see tare_error_errno().
 */
#define TARE_KIND_OS 11

/**
 * A bug of the library: a panic, which ended this call alone.
 */
#define TARE_KIND_INTERNAL 12

/**
 * Also use the names that an archive gives its image, as docker-load(1) does.
 */
#define TARE_IMPORT_SOURCE_NAMES 1

/**
 * No sync(2) at the end: faster, and a power cut may leave the image broken or
 * absent.
 */
#define TARE_IMPORT_NO_SYNC 2

/**
 * Turns whiteouts into those of overlayfs, so that the directory holds this
 * layer alone; without, they delete existing files of the directory.
 */
#define TARE_LAYER_OVERLAY 1

/**
 * With TARE_LAYER_OVERLAY: opaque directories as overlays mounted with
 * `userxattr` have them.
 */
#define TARE_LAYER_USER_XATTR 2

/**
 * Out of sight at once, even in use; removed when the last user has ended.
 */
#define TARE_UNMOUNT_LAZY 1

/**
 * No event since the last call.
 */
#define TARE_EVENT_NONE 0

/**
 * The kernel killed processes inside for want of memory.
 */
#define TARE_EVENT_OOM 1

/**
 * The sandbox is gone: closed, freed, reset, or its process 1 has died.
 */
#define TARE_EVENT_GONE 2

/**
 * The library's default: no input, output to pipes.
 */
#define TARE_STDIO_DEFAULT 0

/**
 * `/dev/null`.
 */
#define TARE_STDIO_NULL 1

/**
 * A pipe: tare_sandbox_run() reads the pipe, a process hands out the other
 * end.
 */
#define TARE_STDIO_PIPE 2

/**
 * The caller's own descriptor 0, 1 or 2.
 */
#define TARE_STDIO_INHERIT 3

/**
 * The descriptor in `stdin_fd`, `stdout_fd` or `stderr_fd`.
 */
#define TARE_STDIO_FD 4

/**
 * Input only: `stdin_data`, then end of file. The command sees a regular file.
 */
#define TARE_STDIO_BYTES 5

/**
 * Standard error only: the same as standard output.
 */
#define TARE_STDIO_STDOUT 6

/**
 * The image's own command: the entry point, with `argv` in place of the
 * default arguments; without `argv`, these.
 */
#define TARE_COMMAND_OF_IMAGE 1

/**
 * `umask` of the command counts.
 */
#define TARE_COMMAND_UMASK 2

/**
 * The command has not ended yet.
 */
#define TARE_REASON_RUNNING 0

/**
 * The command ended by itself, with an exit code.
 */
#define TARE_REASON_EXITED 1

/**
 * A signal from inside ended the command.
 */
#define TARE_REASON_SIGNALED 2

/**
 * The time limit expired.
 */
#define TARE_REASON_TIMEOUT 3

/**
 * The kernel killed the command for want of memory.
 */
#define TARE_REASON_OOM 4

/**
 * Wrote more than is kept. No success, also where the command ended by itself
 * first.
 */
#define TARE_REASON_OUTPUT 5

/**
 * The caller killed the command, or closed or reset the sandbox.
 */
#define TARE_REASON_KILLED 6

/**
 * In a tare_status, a figure that is not known.
 */
#define TARE_UNKNOWN UINT64_MAX

/**
 * A symbolic link at the end of the path is looked at, not followed.
 */
#define TARE_FILE_NO_FOLLOW 1

/**
 * Missing parents are made too, and an existing directory stays unchanged.
 */
#define TARE_FILE_PARENTS 2

/**
 * An empty directory, not a file.
 */
#define TARE_FILE_DIRECTORY 4

/**
 * A directory with all entries below.
 */
#define TARE_FILE_TREE 8

/**
 * Bytes that a call returned, most often JSON text. Owned by the caller, freed
 * with tare_bytes_free().
 */
typedef struct tare_bytes tare_bytes;

/**
 * A directory of a sandbox that is being listed. Freed with tare_dir_free().
 */
typedef struct tare_dir tare_dir;

/**
 * The reason of a failed call. Owned by the caller, readable from any thread,
 * freed with tare_error_free().
 */
typedef struct tare_error tare_error;

/**
 * The events of a sandbox. Freed with tare_events_free().
 */
typedef struct tare_events tare_events;

/**
 * An image ready for use, and held: no process removes its layers from the
 * store while there is a handle. Freed with tare_image_free().
 */
typedef struct tare_image tare_image;

/**
 * An image that is being imported. Ends in tare_importing_finish(), or with
 * tare_importing_free().
 */
typedef struct tare_importing tare_importing;

/**
 * A sandbox that is being opened. Ends in tare_opening_finish(), or with
 * tare_opening_free().
 */
typedef struct tare_opening tare_opening;

/**
 * A finished command: its end and its output. Freed with tare_output_free().
 */
typedef struct tare_output tare_output;

/**
 * Sandboxes of a spec that wait to be taken, each used once. Ended with
 * tare_pool_close(), which waits until all waiting sandboxes are gone, or
 * tare_pool_free(), which does not.
 */
typedef struct tare_pool tare_pool;

/**
 * A running command. Freed with tare_process_free(), which neither waits nor
 * kills.
 */
typedef struct tare_process tare_process;

/**
 * A clean, isolated, disposable environment. Ended with tare_sandbox_close(),
 * which waits until nothing of the sandbox is left, or tare_sandbox_free(),
 * which does not.
 */
typedef struct tare_sandbox tare_sandbox;

/**
 * Images on disk, and the helper process that makes sandboxes from them. Freed
 * with tare_store_free(); sandboxes and images of the store may outlive the
 * handle.
 */
typedef struct tare_store tare_store;

/**
 * Receives a line, without a newline at its end, on the thread of the call, or
 * on a thread of the library for tare_sandbox_begin() and
 * tare_store_begin_import(); on several threads at once if several make calls.
 * `level` is one of TARE_LOG_*, or between two of a later version's. `text`
 * lives until the function returns. Must return: no longjmp(3), no C++
 * exception. May use the library.
 */
typedef void (*tare_log_fn)(void *data, uint32_t level, const char *text);

/**
 * The result of tare_store_recover().
 */
typedef struct {
  /**
   * sizeof(tare_recovered), set by the caller.
   */
  uint64_t size;
  /**
   * Directories of work in progress that were removed.
   */
  uint64_t scratch;
  /**
   * Cgroups that were removed.
   */
  uint64_t cgroups;
  /**
   * Number of leftovers that could not be removed.
   */
  uint64_t left;
} tare_recovered;

/**
 * Initializer of a tare_recovered: its size, and zero for all else.
 */
#define TARE_RECOVERED_INIT \
  {sizeof(tare_recovered), 0, 0, 0}

/**
 * The result of tare_store_remove() and tare_store_gc().
 */
typedef struct {
  /**
   * sizeof(tare_collected), set by the caller.
   */
  uint64_t size;
  /**
   * Blobs removed.
   */
  uint64_t blobs;
  /**
   * Bytes of these blobs.
   */
  uint64_t bytes;
  /**
   * Unpacked layers removed.
   */
  uint64_t layers;
  /**
   * Unpacked layers that no image needs but that are in use; a later
   * collection takes them.
   */
  uint64_t in_use;
} tare_collected;

/**
 * Initializer of a tare_collected: its size, and zero for all else.
 */
#define TARE_COLLECTED_INIT \
  {sizeof(tare_collected), 0, 0, 0, 0}

/**
 * The progress of a layer of an image. Lives as long as the call that receives
 * it.
 */
typedef struct {
  /**
   * sizeof(tare_progress) of the library: read no field beyond it.
   */
  uint64_t size;
  /**
   * The layer's place in the image, from 0, bottom first.
   */
  uint64_t layer;
  /**
   * Number of layers of the image.
   */
  uint64_t layers;
  /**
   * Bytes of the layer read so far, as kept, so usually compressed.
   */
  uint64_t bytes_done;
  /**
   * Bytes of the layer in all.
   */
  uint64_t bytes_total;
  /**
   * The layer's digest, for example `sha256:...`.
   */
  const char *digest;
} tare_progress;

/**
 * Receives the progress, several times a second, on the calling thread.
 * `progress` is NULL without news. Returns 0 to continue; any other value
 * stops the work with ECANCELED and undoes it. Must return: no longjmp(3), no
 * C++ exception. May use the library.
 */
typedef int32_t (*tare_progress_fn)(void *data, const tare_progress *progress);

/**
 * Options of an import. All zeros but the size is the default.
 */
typedef struct {
  /**
   * sizeof(tare_import_options), set by the caller.
   */
  uint64_t size;
  /**
   * Some of TARE_IMPORT_*.
   */
  uint64_t flags;
  /**
   * Names to file the image under, `NAME[:TAG]` each, then NULL. Default:
   * none.
   */
  const char *const *names;
  /**
   * The image of a source with several, by its name there or the digest of
   * its manifest. Default: the only image.
   */
  const char *select;
  /**
   * `OS/ARCHITECTURE[/VARIANT]` of an index. Default: this machine's.
   */
  const char *platform;
  /**
   * Nanoseconds to wait for a process that builds the same layer. Default:
   * 10 minutes.
   */
  uint64_t patience_ns;
  /**
   * Receives the progress. Default: NULL, without reports.
   */
  tare_progress_fn progress;
  /**
   * Passed to `progress`.
   */
  void *progress_data;
} tare_import_options;

/**
 * Initializer of a tare_import_options: its size, and zero for all else.
 */
#define TARE_IMPORT_OPTIONS_INIT \
  {sizeof(tare_import_options), 0, NULL, NULL, NULL, 0, NULL, NULL}

/**
 * The progress of an import.
 */
typedef struct {
  /**
   * sizeof(tare_import_progress), set by the caller.
   */
  uint64_t size;
  /**
   * Layers of the image; zero until the first is read.
   */
  uint64_t layers;
  /**
   * Number of layers whose reading has begun. Present layers are not read.
   */
  uint64_t begun;
  /**
   * Bytes read of those that were begun, as kept, so usually compressed.
   */
  uint64_t bytes_done;
  /**
   * All bytes of these.
   */
  uint64_t bytes_total;
} tare_import_progress;

/**
 * Initializer of a tare_import_progress: its size, and zero for all else.
 */
#define TARE_IMPORT_PROGRESS_INIT \
  {sizeof(tare_import_progress), 0, 0, 0, 0}

/**
 * An event of a sandbox.
 */
typedef struct {
  /**
   * sizeof(tare_event), set by the caller.
   */
  uint64_t size;
  /**
   * One of TARE_EVENT_*; later versions may have more.
   */
  uint64_t kind;
  /**
   * The number of killed processes for TARE_EVENT_OOM; else 0.
   */
  uint64_t oom_kills;
} tare_event;

/**
 * Initializer of a tare_event: its size, and zero for all else.
 */
#define TARE_EVENT_INIT \
  {sizeof(tare_event), 0, 0}

/**
 * An additional descriptor for a command.
 */
typedef struct {
  /**
   * The caller's; stays the caller's.
   */
  int32_t fd;
  /**
   * The number of the descriptor in the command, 3 to 1023.
   */
  uint32_t number;
} tare_fd;

/**
 * A resource limit of a command, getrlimit(2).
 */
typedef struct {
  /**
   * As in `limits.rlimits` of the spec, but not `locks`: `nofile`.
   */
  const char *name;
  /**
   * The limit in force, which the command may raise up to `hard`. UINT64_MAX
   * is unlimited.
   */
  uint64_t soft;
  /**
   * The ceiling, which only CAP_SYS_RESOURCE raises above the caller's own.
   */
  uint64_t hard;
} tare_rlimit;

/**
 * A program to run. All zeros but the size and `argv` is the default. The
 * library keeps no pointer: all memory stays the caller's, and may go when the
 * call returns.
 */
typedef struct {
  /**
   * sizeof(tare_command), set by the caller.
   */
  uint64_t size;
  /**
   * TARE_COMMAND_OF_IMAGE and TARE_COMMAND_UMASK, or 0.
   */
  uint64_t flags;
  /**
   * Program and arguments, then NULL. The program is searched in the
   * sandbox's `PATH` unless it holds a slash. No shell is involved.
   */
  const char *const *argv;
  /**
   * `NAME=VALUE` each, over the sandbox's environment, then NULL. Default:
   * none.
   */
  const char *const *env;
  /**
   * The working directory inside, which must exist. Default: the sandbox's.
   */
  const char *cwd;
  /**
   * `USER[:GROUP]` by name or number, looked up inside. Default: the
   * sandbox's.
   */
  const char *user;
  /**
   * One of TARE_STDIO_*.
   */
  uint32_t stdin_mode;
  /**
   * Used by TARE_STDIO_FD.
   */
  int32_t stdin_fd;
  /**
   * Used by TARE_STDIO_BYTES.
   */
  const void *stdin_data;
  /**
   * Bytes at `stdin_data`.
   */
  uint64_t stdin_len;
  /**
   * One of TARE_STDIO_*.
   */
  uint32_t stdout_mode;
  /**
   * Used by TARE_STDIO_FD.
   */
  int32_t stdout_fd;
  /**
   * One of TARE_STDIO_*.
   */
  uint32_t stderr_mode;
  /**
   * Used by TARE_STDIO_FD.
   */
  int32_t stderr_fd;
  /**
   * More descriptors. Default: none.
   */
  const tare_fd *fds;
  /**
   * Number of descriptors at `fds`, at most 240.
   */
  uint64_t fds_len;
  /**
   * Nanoseconds after which the command and all processes that it started
   * are killed. Default: 0, for never.
   */
  uint64_t timeout_ns;
  /**
   * Bytes of output kept before the command is killed. Default: the spec's
   * `limits.output`.
   */
  uint64_t output_limit;
  /**
   * Not both 0: input and output are a terminal of this size instead of the
   * streams above.
   */
  uint32_t tty_rows;
  /**
   * Characters in a line of the terminal.
   */
  uint32_t tty_columns;
  /**
   * Resource limits, each in the place of the sandbox's. Default: none.
   */
  const tare_rlimit *rlimits;
  /**
   * Number of limits at `rlimits`.
   */
  uint64_t rlimits_len;
  /**
   * Capabilities added after `cap_drop`, or `ALL`, then NULL. The sandbox
   * must have each. Only user 0 has capabilities. Default: none.
   */
  const char *const *cap_add;
  /**
   * Capabilities taken from the sandbox's, or `ALL`, then NULL. Default:
   * none.
   */
  const char *const *cap_drop;
  /**
   * The file mode creation mask, 0 to 0777, used with TARE_COMMAND_UMASK.
   * Default: 022.
   */
  uint32_t umask;
  /**
   * 0.
   */
  uint32_t reserved;
} tare_command;

/**
 * Initializer of a tare_command: its size, and zero for all else.
 */
#define TARE_COMMAND_INIT \
  {sizeof(tare_command), 0, NULL, NULL, NULL, NULL, 0, 0, NULL, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, \
  0, NULL, 0, NULL, NULL, 0, 0}

/**
 * The descriptors of a command that was started; -1 for each that there is
 * not.
 */
typedef struct {
  /**
   * sizeof(tare_process_fds), set by the caller.
   */
  uint64_t size;
  /**
   * The process's: readable at its end, for poll(2) and epoll(7), not to be
   * read from.
   */
  int32_t status_fd;
  /**
   * The process's: pidfd_open(2).
   */
  int32_t pidfd;
  /**
   * The process's: master of the terminal.
   */
  int32_t terminal_fd;
  /**
   * The caller's: the writing end of standard input; close it for end of
   * file.
   */
  int32_t stdin_fd;
  /**
   * The caller's: the reading end of standard output.
   */
  int32_t stdout_fd;
  /**
   * The caller's: the reading end of standard error.
   */
  int32_t stderr_fd;
} tare_process_fds;

/**
 * Initializer of a tare_process_fds: its size, and zero for all else.
 */
#define TARE_PROCESS_FDS_INIT \
  {sizeof(tare_process_fds), 0, 0, 0, 0, 0, 0}

/**
 * The end of a command, and its usage, with that of awaited children.
 */
typedef struct {
  /**
   * sizeof(tare_status), set by the caller.
   */
  uint64_t size;
  /**
   * One of TARE_REASON_*.
   */
  uint32_t reason;
  /**
   * The exit code; -1 if a signal ended the command, its output was cut, or
   * it has not ended.
   */
  int32_t exit_code;
  /**
   * The signal that ended the command, else 0.
   */
  int32_t signal;
  /**
   * 1 for a core file, else 0.
   */
  uint32_t core_dumped;
  /**
   * Nanoseconds from start to end.
   */
  uint64_t wall_ns;
  /**
   * Microseconds of processor time in programs.
   */
  uint64_t user_us;
  /**
   * Microseconds of processor time in the kernel for them.
   */
  uint64_t system_us;
  /**
   * Most memory in use at once during the command, bytes: the sandbox's if
   * `limits.memory` counts it, else the largest process's. TARE_UNKNOWN if
   * the figure is not this command's alone: another ran in the sandbox at
   * the same time, or the kernel cannot restart the count (cgroup v2 before
   * Linux 6.12) and the command was not the first.
   */
  uint64_t memory_peak;
  /**
   * Bytes read from disks.
   */
  uint64_t io_read;
  /**
   * Bytes written to disks.
   */
  uint64_t io_written;
  /**
   * Processes of the sandbox that the kernel killed for want of memory
   * during the command, its children included; TARE_UNKNOWN without
   * `limits.memory`, which counts them.
   */
  uint64_t oom_kills;
} tare_status;

/**
 * Initializer of a tare_status: its size, and zero for all else.
 */
#define TARE_STATUS_INIT \
  {sizeof(tare_status), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * The result of stat(2), as the sandbox sees the file: with the sandbox's ids,
 * not the machine's.
 */
typedef struct {
  /**
   * sizeof(tare_stat), set by the caller.
   */
  uint64_t size;
  /**
   * Type and permissions, for S_ISREG() and its like, inode(7).
   */
  uint32_t mode;
  /**
   * Owner.
   */
  uint32_t uid;
  /**
   * Group.
   */
  uint32_t gid;
  /**
   * Nanoseconds to add to `atime`.
   */
  uint32_t atime_ns;
  /**
   * Nanoseconds to add to `mtime`.
   */
  uint32_t mtime_ns;
  /**
   * Nanoseconds to add to `ctime`.
   */
  uint32_t ctime_ns;
  /**
   * Last access, seconds since 1970.
   */
  int64_t atime;
  /**
   * Last change of the content, seconds since 1970.
   */
  int64_t mtime;
  /**
   * Last change of anything else, seconds since 1970.
   */
  int64_t ctime;
  /**
   * Bytes of content: `st_size`.
   */
  uint64_t bytes;
  /**
   * The file system.
   */
  uint64_t dev;
  /**
   * The file's number on the device.
   */
  uint64_t ino;
  /**
   * Number of names of the file.
   */
  uint64_t nlink;
  /**
   * Number of the device, for a device.
   */
  uint64_t rdev;
  /**
   * Units of 512 bytes in use.
   */
  uint64_t blocks;
} tare_stat;

/**
 * Initializer of a tare_stat: its size, and zero for all else.
 */
#define TARE_STAT_INIT \
  {sizeof(tare_stat), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the running library, for example `0.1.0`. A program may run
 * with a later version than its header's: it does not miss later additions.
 *
 * Returns: text.
 * Ownership: the text is the library's and stays.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_version(void);

/**
 * The library's built-in features, words with spaces between them: back ends,
 * sources of images, compressions.
 *
 * Returns: text.
 * Ownership: the text is the library's and stays.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_features(void);

/**
 * Tells whether a word is among tare_features().
 *
 * Returns: 1 if the word is there, else 0, also for NULL.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_has_feature(const char *feature);

/**
 * Counts the handles that the caller holds: stores, images, sandboxes,
 * processes, outputs, listings, bytes, errors. Freed handles do not count. For
 * tests that look for leaks: a leak checker cannot see handles, because the
 * library itself keeps a table of them.
 *
 * Returns: the number.
 * Threads: any, at once.
 * Since: 0.1.
 */
uint64_t tare_handle_count(void);

/**
 * Examines this machine for the calling user, which takes about 50 ms, and
 * changes nothing. The JSON object has `ok` (whether sandboxes can be opened
 * at all), `kernel`, `uid` and `checks`, a list of `{name, ok, matter, found,
 * cure}`.
 *
 * `store_or_null`: the directory of the store; NULL for that of
 * tare_store_open(NULL).
 *
 * Returns: NULL for any report.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_doctor(const char *store_or_null, tare_bytes **out);

/**
 * Registers a function that receives a line for each action of the library in
 * this process. Lines name programs, never arguments or values of an
 * environment. There is a single function; a later call replaces it, and
 * running calls of other threads may still use the earlier function.
 *
 * `function_or_null`: NULL for no log. `data`: passed to the function.
 * `level`: the highest level reported, one of TARE_LOG_*; 0 for no lines.
 *
 * Threads: any, at once.
 * Since: 0.1.
 */
void tare_set_log(tare_log_fn function_or_null, void *data, uint32_t level);

/**
 * The kind of error, coarse enough to branch on.
 *
 * Returns: one of TARE_KIND_*; 0 for NULL or a handle that is no error.
 * Threads: any, at once.
 * Since: 0.1.
 */
uint32_t tare_error_kind(const tare_error *error);

/**
 * The kind as a word, for example `not_found`: the same word in every face.
 *
 * Returns: text; NULL for NULL or a handle that is no error.
 * Ownership: the text lives as long as the error.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_error_kind_name(const tare_error *error);

/**
 * The errno(3) of the system call that failed.
 *
 * Returns: the errno; 0 if no system call failed, for NULL or a handle that is
 * no error.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_error_errno(const tare_error *error);

/**
 * The whole error as a line: `step: subject: ERRNO (its text); try: cure`.
 * Control characters are escaped, so a name from an image cannot drive a
 * terminal.
 *
 * Returns: text; NULL for NULL or a handle that is no error.
 * Ownership: the text lives as long as the error.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_error_message(const tare_error *error);

/**
 * The failed step, for example `mount overlay on /`. Not escaped: use the
 * message for terminals.
 *
 * Returns: text; NULL for NULL or a handle that is no error.
 * Ownership: the text lives as long as the error.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_error_step(const tare_error *error);

/**
 * The subject of the step, for example `lowerdir "/x"`; may be empty. Not
 * escaped.
 *
 * Returns: text; NULL for NULL or a handle that is no error.
 * Ownership: the text lives as long as the error.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_error_subject(const tare_error *error);

/**
 * The setting, package or command that would cure the error. Not escaped.
 *
 * Returns: text; NULL if no cure is known, for NULL or a handle that is no
 * error.
 * Ownership: the text lives as long as the error.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_error_cure(const tare_error *error);

/**
 * Frees an error. NULL and freed handles are ignored.
 *
 * Ownership: takes `error`; its texts end.
 * Threads: any, if no thread uses those texts any more.
 * Since: 0.1.
 */
void tare_error_free(tare_error *error);

/**
 * The bytes themselves, with a NUL behind the last, so that JSON can be read
 * as a string.
 *
 * Returns: a pointer to tare_bytes_len() bytes; NULL for NULL or a handle that
 * is no bytes.
 * Ownership: the memory lives as long as `bytes`.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_bytes_data(const tare_bytes *bytes);

/**
 * Returns the number of bytes, without the NUL behind them.
 *
 * Returns: the number; 0 for NULL or a handle that is no bytes.
 * Threads: any, at once.
 * Since: 0.1.
 */
size_t tare_bytes_len(const tare_bytes *bytes);

/**
 * Frees bytes. NULL and freed handles are ignored.
 *
 * Ownership: takes `bytes`; pointers into `bytes` end.
 * Threads: any, if no thread uses those pointers any more.
 * Since: 0.1.
 */
void tare_bytes_free(tare_bytes *bytes);

/**
 * Opens a store; makes a missing one, and removes leftovers of killed
 * processes.
 *
 * `path_or_null`: the directory; NULL for `$TARE_STORE`, else `/var/lib/tare`
 * for root, else `$XDG_DATA_HOME/tare`. In a set-user-id program the
 * environment does not count: users other than root must give a path.
 *
 * Returns: NULL, or an error: TARE_KIND_PERMISSION, TARE_KIND_EXHAUSTED, or
 * that of open(2).
 * Ownership: `*out` is the caller's, for tare_store_free().
 * Threads: any, at once; a store may be open any number of times, in any
 * number of processes.
 * Since: 0.1.
 */
tare_error *tare_store_open(const char *path_or_null, tare_store **out);

/**
 * Frees the handle of a store. The helper process ends with the store's last
 * handle, sandbox and process. NULL and freed handles are ignored.
 *
 * Ownership: takes `store`.
 * Threads: any; running calls in other threads continue.
 * Since: 0.1.
 */
void tare_store_free(tare_store *store);

/**
 * The store's directory, absolute.
 *
 * Returns: text; NULL for NULL or a handle that is no store.
 * Ownership: the text lives as long as the store's handle.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_store_path(const tare_store *store);

/**
 * Removes leftovers of killed processes: work in progress, cgroups. Opening a
 * store does the same. Ends the prestarted sandbox of this store, which
 * otherwise waits for five seconds.
 *
 * Returns: NULL, or an error of reading the store; leftovers that cannot be
 * removed are only counted.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_recover(const tare_store *store, tare_recovered *out_or_null);

/**
 * Lists the images of the store: a JSON list of `{name, digest, size, created,
 * architecture, layers, damage}`, one entry for each name.
 *
 * Returns: NULL, or an error of reading the index; an unreadable image is
 * listed with its damage.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_list(const tare_store *store, tare_bytes **out);

/**
 * Files an image of the store under an additional name; another image with
 * this name loses it.
 *
 * `reference`: a name or a digest in the store. `name`: `NAME[:TAG]`.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND, TARE_KIND_INVALID for an
 * invalid name.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_tag(const tare_store *store, const char *reference, const char *name);

/**
 * Takes a name, or with a digest the whole image, out of the store, and
 * removes unneeded blobs and layers. Layers in use stay until a later
 * collection.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_remove(const tare_store *store,
                              const char *reference,
                              tare_collected *out_or_null);

/**
 * Removes blobs and layers that no image of the store needs and no process
 * uses.
 *
 * Returns: NULL, or an error: TARE_KIND_CORRUPT if the needed blobs cannot be
 * determined; then nothing is removed.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_gc(const tare_store *store, tare_collected *out_or_null);

/**
 * Reads every blob and compares the digest; checks that every image has its
 * parts. Changes nothing. The JSON object has `images`, `blobs`, `bytes`,
 * `layers` and `problems`, a list of `{subject, why}`, empty for a sound
 * store.
 *
 * Returns: NULL for any report, or an error of reading the directories.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_check(const tare_store *store, tare_bytes **out);

/**
 * Checks the store as tare_store_check() does and removes damaged parts, so
 * that the next import brings them again. Replaces a lost or unreadable index
 * by one of the manifests among the blobs: names are lost, and the old file is
 * kept as `index.json.damaged`.
 *
 * `removed_or_null`: gets the number of blobs and layers that were removed.
 *
 * Returns: NULL, or an error of reading or changing the store.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_repair(const tare_store *store, uint64_t *removed_or_null);

/**
 * Brings an image from an OCI layout (`oci:PATH[:TAG]`) or an archive
 * (`archive:FILE`, of docker-save(1) or skopeo(1)) into the store. Both
 * digests of every layer are verified before the image becomes visible; after
 * an error no part of the image is visible.
 *
 * `options_or_null`: NULL for the defaults.
 *
 * Returns: NULL, or an error: TARE_KIND_CORRUPT for an inconsistent image,
 * TARE_KIND_NOT_FOUND for a missing source or tag, TARE_KIND_UNSUPPORTED if
 * nothing fits this machine, TARE_KIND_BUSY when patience ends, errno
 * ECANCELED when `progress` stopped the import.
 * Ownership: `*out` is the caller's, for tare_image_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_import(const tare_store *store,
                              const char *reference,
                              const tare_import_options *options_or_null,
                              tare_image **out);

/**
 * Brings every image of an OCI layout or an archive into the store, each under
 * its names there, as docker-load(1) does; with `select` only the image of
 * that name. All images are examined before the first is brought. Each becomes
 * visible whole; images before a failing image stay.
 *
 * `reference`: `oci:PATH[:TAG]` or `archive:FILE`; a fifo is read to its end.
 * `options_or_null`: without `names`; NULL for the defaults. `*out`: a JSON
 * array with an object for each image, as tare_image_inspect() gives it. The
 * images are not held.
 *
 * Returns: NULL, or an error: those of tare_store_import().
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_load(const tare_store *store,
                            const char *reference,
                            const tare_import_options *options_or_null,
                            tare_bytes **out);

/**
 * tare_store_load() of an archive that is open: a file, a pipe or a socket.
 *
 * `archive_fd`: read from its offset to its end; stays the caller's.
 *
 * Returns: NULL, or an error: those of tare_store_load(), errno EBADF for a
 * closed descriptor.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_load_fd(const tare_store *store,
                               int32_t archive_fd,
                               const tare_import_options *options_or_null,
                               tare_bytes **out);

/**
 * Opens an image by any reference: a name or a digest in the store; `oci:` and
 * `archive:`, imported if missing; `dir:PATH` and `host`, in place.
 *
 * `options_or_null`: for images that are imported first, or have layers to be
 * unpacked again; NULL for the defaults.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND with the nearest name as the
 * cure, and those of tare_store_import().
 * Ownership: `*out` is the caller's, for tare_image_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_image(const tare_store *store,
                             const char *reference,
                             const tare_import_options *options_or_null,
                             tare_image **out);

/**
 * Frees the handle of an image and releases its layers. NULL and freed handles
 * are ignored.
 *
 * Ownership: takes `image`; its texts end.
 * Threads: any, if no thread uses those texts any more.
 * Since: 0.1.
 */
void tare_image_free(tare_image *image);

/**
 * The reference that the image was opened by.
 *
 * Returns: text; NULL for NULL or a handle that is no image.
 * Ownership: the text lives as long as the image's handle.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_image_reference(const tare_image *image);

/**
 * The digest of the image's manifest, for example `sha256:...`.
 *
 * Returns: text; NULL for a directory, for the host, for NULL or a handle that
 * is no image.
 * Ownership: the text lives as long as the image's handle.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_image_digest(const tare_image *image);

/**
 * The image's description: a JSON object with `reference`, `digest`,
 * `created`, `size`, `architecture`, `os`, `config` (`env`, `entrypoint`,
 * `cmd`, `workdir`, `user`, `exposed_ports`, `volumes`, `labels`,
 * `stop_signal`), `notes`, `layers` and `root`.
 *
 * Returns: NULL, or an error.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_image_inspect(const tare_image *image, tare_bytes **out);

/**
 * Begins an import as of tare_store_import(), for callers with an event loop:
 * returns at once. A thread of the library works on the import, with all
 * signals blocked, until tare_importing_finish().
 *
 * `options_or_null`: without `progress`, for which there is
 * tare_importing_progress(); NULL for the defaults.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID for wrong options,
 * TARE_KIND_EXHAUSTED if there is no thread to be had. Those of the import
 * come from tare_importing_finish().
 * Ownership: `*out` is the caller's, for tare_importing_finish() or
 * tare_importing_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_store_begin_import(const tare_store *store,
                                    const char *reference,
                                    const tare_import_options *options_or_null,
                                    tare_importing **out);

/**
 * A descriptor for poll(2) and epoll(7), not to be read from: readable when
 * tare_importing_finish() does not wait.
 *
 * Returns: the descriptor; -1 for NULL or a handle that is no import.
 * Ownership: the descriptor belongs to the import.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_importing_fd(const tare_importing *importing);

/**
 * Reads the progress.
 *
 * Returns: NULL, or TARE_KIND_INVALID for a handle that is no import.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_importing_progress(const tare_importing *importing, tare_import_progress *out);

/**
 * Gives the image. Waits if the descriptor is not readable. The handle of the
 * import and the thread are gone, also after an error.
 *
 * Returns: NULL, or an error: those of tare_store_import(); nothing is visible
 * then.
 * Ownership: takes `importing`. `*out` is the caller's, for tare_image_free().
 * Threads: any; a second call for the same import is an error.
 * Since: 0.1.
 */
tare_error *tare_importing_finish(tare_importing *importing, tare_image **out);

/**
 * Stops the import, without waiting: within moments the thread undoes its
 * work, and ends. NULL and finished or freed handles are ignored.
 *
 * Ownership: takes `importing`.
 * Threads: any.
 * Since: 0.1.
 */
void tare_importing_free(tare_importing *importing);

/**
 * Unpacks all layers of an image into a directory and verifies both digests of
 * each: the first primitive. After an error the directory is unchanged.
 *
 * `store_or_null`: resolves names; with a store, an ordinary user's files
 * belong to subordinate ids. NULL needs no store, and knows `oci:` and
 * `archive:` only. `dir`: made, or empty. `options_or_null`: of these,
 * `select`, `platform`, `progress` and TARE_IMPORT_NO_SYNC matter; NULL for
 * the defaults. `config_or_null`: gets the image's configuration, the JSON
 * object that tare_image_inspect() has under `config`, with `notes`.
 *
 * Returns: NULL, or an error: those of tare_store_import(), and
 * TARE_KIND_EXISTS if there is something in `dir`.
 * Ownership: `*config_or_null` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_unpack(const tare_store *store_or_null,
                        const char *reference,
                        const char *dir,
                        const tare_import_options *options_or_null,
                        tare_bytes **config_or_null);

/**
 * Unpacks a layer, a tar archive compressed by gzip, zstd or not at all, into
 * a directory without other writers. No file is made outside of the directory.
 * After an error the directory holds a part of the layer, to be thrown away.
 *
 * `blob_fd`: read from its offset to its end; stays the caller's. `dir`: must
 * exist. `flags`: some of TARE_LAYER_*; 0 for a separate tree. `out`: gets a
 * JSON object with `blob_digest`, `blob_bytes`, `diff_id`, `diff_bytes`,
 * `entries`, `opaque_root` and `notes`. Compare both digests with the image's
 * before the files are used.
 *
 * Returns: NULL, or an error: TARE_KIND_CORRUPT names the entry and its offset
 * in the archive.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_unpack_layer(int32_t blob_fd, const char *dir, uint64_t flags, tare_bytes **out);

/**
 * Mounts a copy-on-write view of an image on a directory: the second
 * primitive. For root. The mount outlives this process, until
 * tare_tree_unmount() or the next boot.
 *
 * `reference`: as for tare_store_image(). `dir`: is there. `options_json`,
 * `options_len`: a JSON object with `write` (`memory`, `disk`, `none`),
 * `storage` (`auto`, `overlay`, `copy`) and `size` (of the writable layer in
 * memory), each with the default that the spec has; NULL and 0 for the
 * defaults.
 *
 * Returns: NULL, or an error: TARE_KIND_PERMISSION for ordinary users,
 * TARE_KIND_NOT_FOUND for a missing image or directory. Nothing is left behind
 * then.
 * Threads: any, at once. The mount is made in the mount namespace of the
 * calling process.
 * Since: 0.1.
 */
tare_error *tare_tree_mount(const tare_store *store,
                            const char *reference,
                            const char *dir,
                            const char *options_json,
                            size_t options_len);

/**
 * Undoes tare_tree_mount(), and removes the writes from the disk.
 *
 * `flags`: 0 or TARE_UNMOUNT_LAZY.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND if no view of this store is
 * mounted there, TARE_KIND_BUSY if the view is in use, or covered by another
 * mount.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_tree_unmount(const tare_store *store, const char *dir, uint64_t flags);

/**
 * Reads and checks a spec, without opening a sandbox.
 *
 * `spec_json`, `spec_len`: a JSON object; NULL and 0 for the defaults.
 * `out_or_null`: gets the spec with every default filled in, as a JSON object.
 *
 * Returns: NULL, or TARE_KIND_INVALID, which names the key and, for an unknown
 * key, the nearest known.
 * Ownership: `*out_or_null` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_spec_check(const char *spec_json, size_t spec_len, tare_bytes **out_or_null);

/**
 * Opens a sandbox: about a millisecond if the image is unpacked already. With
 * the defaults, a copy-on-write view of this machine.
 *
 * `spec_json`, `spec_len`: a JSON object, the same keys as in every face; NULL
 * and 0 for the defaults.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID for a wrong spec,
 * TARE_KIND_NOT_FOUND for a missing image, TARE_KIND_UNSUPPORTED with the cure
 * for keys that this machine cannot enforce. Nothing is left behind then.
 * Ownership: `*out` is the caller's, for tare_sandbox_close() or
 * tare_sandbox_free(). If this process dies, the sandbox ends.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_open(const tare_store *store,
                              const char *spec_json,
                              size_t spec_len,
                              tare_sandbox **out);

/**
 * Opens a sandbox on an open image, for example of tare_store_image(), which
 * reports its progress.
 *
 * `spec_json`, `spec_len`: as for tare_sandbox_open(), but that `image` does
 * not matter.
 *
 * Returns: NULL, or an error: those of tare_sandbox_open().
 * Ownership: `*out` is the caller's, for tare_sandbox_close() or
 * tare_sandbox_free(); `image` stays the caller's and may be freed while the
 * sandbox is open.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_open_on(const tare_store *store,
                                 const tare_image *image,
                                 const char *spec_json,
                                 size_t spec_len,
                                 tare_sandbox **out);

/**
 * Opens a sandbox on a plain directory as root, without copy-on-write: writes
 * of commands stay.
 *
 * `root`: is there. `spec_json`, `spec_len`: as for tare_sandbox_open(), but
 * that `image` and `storage` do not matter.
 *
 * Returns: NULL, or an error: those of tare_sandbox_open().
 * Ownership: `*out` is the caller's, for tare_sandbox_close() or
 * tare_sandbox_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_open_in(const tare_store *store,
                                 const char *root,
                                 const char *spec_json,
                                 size_t spec_len,
                                 tare_sandbox **out);

/**
 * Ends all processes inside and returns when nothing of the sandbox is left.
 * The handle is gone, also after an error. NULL is ignored.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID for a handle that is no
 * sandbox, or was closed or freed already; TARE_KIND_BROKEN if the helper
 * process is gone, and the sandbox with the helper.
 * Ownership: takes `sandbox`. Processes and outputs of the sandbox stay the
 * caller's.
 * Threads: any; calls in other threads see their commands killed.
 * Since: 0.1.
 */
tare_error *tare_sandbox_close(tare_sandbox *sandbox);

/**
 * Closes a sandbox without waiting; for a handle of tare_sandbox_as_user(),
 * frees that handle alone. NULL and closed or freed handles are ignored.
 *
 * Ownership: takes `sandbox`. Processes and outputs of the sandbox stay the
 * caller's.
 * Threads: any; the sandbox ends when the last running call in another thread
 * returns.
 * Since: 0.1.
 */
void tare_sandbox_free(tare_sandbox *sandbox);

/**
 * Ends everything inside and starts again from the image; old commands are
 * seen as killed. The new state is made first: for a moment there are both.
 *
 * Returns: NULL, or an error: those of tare_sandbox_open(); nothing has
 * changed then.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_reset(tare_sandbox *sandbox);

/**
 * Stops all processes inside, at once and unseen by them; returns when all
 * have stopped. Starting a command and using files then fail until
 * tare_sandbox_thaw(). A signal, a kill and a time limit take effect after the
 * thaw. A reset and a close work, and so does the end of this process.
 *
 * Returns: NULL, or an error: TARE_KIND_UNSUPPORTED without an own cgroup in
 * v2 (kernel 5.2), TARE_KIND_BUSY if a process did not stop within two
 * seconds; then all continue.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_freeze(tare_sandbox *sandbox);

/**
 * Lets all processes inside continue; nothing happens if they were not
 * stopped.
 *
 * Returns: NULL, or an error of writing to the cgroup.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_thaw(tare_sandbox *sandbox);

/**
 * The use of all processes inside, now and since the open or the last reset: a
 * JSON object with `memory`, `memory_peak`, `user_us`, `system_us`, `io_read`,
 * `io_written`, `pids`, `pids_peak` and `oom_kills`, each null if this machine
 * does not count it for this sandbox.
 *
 * Returns: NULL, or TARE_KIND_INVALID if the sandbox was closed.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_usage(const tare_sandbox *sandbox, tare_bytes **out);

/**
 * The running commands, in the order of their start, those of
 * tare_sandbox_run() in other threads included: a JSON array of objects with
 * `id` (of tare_process_id()), `argv` and `wall_ns`, the nanoseconds since the
 * start.
 *
 * Returns: NULL, or TARE_KIND_INVALID if the sandbox was closed.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_commands(const tare_sandbox *sandbox, tare_bytes **out);

/**
 * A running command by its number, also after its handle was freed: a second
 * handle to wait, signal and kill. Pipes and terminal stay with the first
 * handle.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND if no command of that number
 * runs, TARE_KIND_BUSY while the sandbox is frozen.
 * Ownership: `*out` is the caller's, for tare_process_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_process(const tare_sandbox *sandbox, uint64_t id, tare_process **out);

/**
 * Changes limits while commands run. A reset brings those of the spec back.
 *
 * `limits_json`, `limits_len`: a JSON object as `limits` of a spec, with
 * `memory`, `swap`, `cpus`, `cpu_weight`, `cpuset`, `pids` and `io`; limits
 * without a key stay.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID for a wrong value and for
 * other keys, TARE_KIND_UNSUPPORTED for a limit that was not in force before,
 * the kernel's errno for a value that the kernel refuses.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_set_limits(tare_sandbox *sandbox,
                                    const char *limits_json,
                                    size_t limits_len);

/**
 * The restrictions in force: a JSON object with `name`, `hostname`, `storage`,
 * `unique_inodes`, `namespaces`, `ids`, `capabilities`, `seccomp`,
 * `no_new_privs`, `mounts`, `masked_paths`, `readonly_paths`, `cgroup`,
 * `left_out`, `labels` and `notes`.
 *
 * Returns: NULL, or an error when the kernel does not let a limit be read
 * back.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_effective(const tare_sandbox *sandbox, tare_bytes **out);

/**
 * A pidfd of the sandbox's first process: readable at any end of the sandbox.
 * tare_sandbox_reset() makes another process.
 *
 * Returns: NULL, or an error of dup(2).
 * Ownership: `*out` is the caller's, for close(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_pidfd(const tare_sandbox *sandbox, int32_t *out);

/**
 * Begins to open a sandbox, for callers with an event loop: returns while the
 * helper works. The first call for a store waits for the start of the helper
 * process, about a millisecond.
 *
 * The helper process makes the sandbox, except if the image must be imported
 * or unpacked first, if mounts of the machine may not answer, and after a
 * first attempt that this machine refuses. Then a thread of the library opens
 * the sandbox, with all signals blocked, until tare_opening_finish().
 *
 * `image_or_null`: goes before the spec's own image, as in
 * tare_sandbox_open_on(). `root_or_null`: a directory in place of an image, as
 * in tare_sandbox_open_in(). `spec_json`, `spec_len`: as for
 * tare_sandbox_open().
 *
 * Returns: NULL, or an error: those of tare_sandbox_open() that are known at
 * once, TARE_KIND_INVALID for an image and a root. Nothing is left behind
 * then.
 * Ownership: `*out` is the caller's, for tare_opening_finish() or
 * tare_opening_free(); `image_or_null` stays the caller's and may be freed at
 * once.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_begin(const tare_store *store,
                               const tare_image *image_or_null,
                               const char *root_or_null,
                               const char *spec_json,
                               size_t spec_len,
                               tare_opening **out);

/**
 * A descriptor for poll(2) and epoll(7), not to be read from: readable when
 * tare_opening_ready() has work. Ask again after a 0: the descriptor may be
 * another.
 *
 * Returns: the descriptor; -1 for NULL or a handle that is no opening.
 * Ownership: the descriptor belongs to the opening.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_opening_fd(const tare_opening *opening);

/**
 * Tells whether tare_opening_finish() would return at once. Never waits: if an
 * attempt has failed and another may succeed, begins the other and returns 0.
 *
 * Returns: 1 or 0; 1 for NULL or a handle that is no opening, which the finish
 * reports.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_opening_ready(tare_opening *opening);

/**
 * Gives the sandbox. Waits if tare_opening_ready() returns 0. The handle of
 * the opening is gone, also after an error.
 *
 * Returns: NULL, or an error: those of tare_sandbox_open(); nothing is left
 * behind then.
 * Ownership: takes `opening`. `*out` is the caller's, for tare_sandbox_close()
 * or tare_sandbox_free().
 * Threads: any; a second call for the same opening is an error.
 * Since: 0.1.
 */
tare_error *tare_opening_finish(tare_opening *opening, tare_sandbox **out);

/**
 * Ends an opening, without waiting. An import stops within moments, and undoes
 * its work. NULL and finished or freed handles are ignored.
 *
 * Ownership: takes `opening`.
 * Threads: any.
 * Since: 0.1.
 */
void tare_opening_free(tare_opening *opening);

/**
 * Has a sandbox's events told from now on. Any number of handles may be told
 * of the same sandbox.
 *
 * Returns: NULL, or an error: TARE_KIND_UNSUPPORTED without `limits.memory`,
 * which counts kills for want of memory, TARE_KIND_INVALID if the sandbox was
 * closed.
 * Ownership: `*out` is the caller's, for tare_events_free(). The handle may
 * outlive the sandbox, and keeps the helper process, but not the sandbox.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_events(const tare_sandbox *sandbox, tare_events **out);

/**
 * A descriptor for poll(2) and epoll(7), not to be read from: readable when
 * there may be something for tare_events_next(), and for good once the sandbox
 * is gone.
 *
 * Returns: the descriptor; -1 for NULL or a handle that is no events.
 * Ownership: the descriptor belongs to the events.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_events_fd(const tare_events *events);

/**
 * Reads the next event since the last call. Never waits. Kills come before
 * TARE_EVENT_GONE, which every later call returns; kills of a sandbox's last
 * moment may be missed.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID after fork(2) in the child.
 * Threads: any, at once; each event is told once.
 * Since: 0.1.
 */
tare_error *tare_events_next(tare_events *events, tare_event *out);

/**
 * Frees the handle. NULL and freed handles are ignored.
 *
 * Ownership: takes `events`; the descriptor is closed.
 * Threads: any, if no other thread uses the descriptor any more.
 * Since: 0.1.
 */
void tare_events_free(tare_events *events);

/**
 * Opens a pool, and returns when the first sandbox is ready. The helper
 * process makes the others meanwhile, without a thread in this process. The
 * number that waits follows the demand, between `min` and `max`.
 *
 * `image_or_null`: goes before the spec's own image. `spec_json`, `spec_len`:
 * as for tare_sandbox_open(). `min`: the number that waits without demand.
 * `max`: the highest number that waits; 0 for the defaults of both, 2 and 16.
 *
 * Returns: NULL, or an error: those of tare_sandbox_open(); TARE_KIND_INVALID
 * for impossible bounds.
 * Ownership: `*out` is the caller's, for tare_pool_close() or
 * tare_pool_free(); `image_or_null` stays the caller's. If this process dies,
 * waiting sandboxes end.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_pool_open(const tare_store *store,
                           const tare_image *image_or_null,
                           const char *spec_json,
                           size_t spec_len,
                           uint64_t min,
                           uint64_t max,
                           tare_pool **out);

/**
 * Takes an unused sandbox: a waiting one, else a sandbox opened now. It never
 * returns to the pool. Closing or freeing it starts its replacement.
 *
 * Returns: NULL, or an error: those of tare_sandbox_open().
 * Ownership: `*out` is the caller's, for tare_sandbox_close() or
 * tare_sandbox_free(); the sandbox may outlive the pool.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_pool_take(const tare_pool *pool, tare_sandbox **out);

/**
 * Returns the number that could be taken now without waiting.
 *
 * Returns: NULL, or TARE_KIND_INVALID for a handle that is no pool.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_pool_ready(const tare_pool *pool, uint64_t *out);

/**
 * Ends all waiting sandboxes and returns when they are gone; taken sandboxes
 * live on. The handle is gone, also after an error. NULL is ignored.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID for a handle that is no pool,
 * or was closed or freed already; TARE_KIND_BROKEN if the helper process is
 * gone, with all waiting sandboxes.
 * Ownership: takes `pool`.
 * Threads: any; a tare_pool_take() in another thread is refused or served.
 * Since: 0.1.
 */
tare_error *tare_pool_close(tare_pool *pool);

/**
 * Closes a pool without waiting. NULL and closed or freed handles are ignored.
 *
 * Ownership: takes `pool`.
 * Threads: any.
 * Since: 0.1.
 */
void tare_pool_free(tare_pool *pool);

/**
 * Starts a command and returns while the command runs. Any number may run at
 * once.
 *
 * `fds_or_null`: gets all descriptors of the command in the same call; the
 * pipes are then the caller's, as if taken with tare_process_take_stdin() and
 * its like.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND, TARE_KIND_NOT_EXECUTABLE or
 * TARE_KIND_PERMISSION with the step `execute` mean that the program does not
 * exist or cannot be executed.
 * Ownership: `*out` is the caller's, for tare_process_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_spawn(const tare_sandbox *sandbox,
                               const tare_command *command,
                               tare_process **out,
                               tare_process_fds *fds_or_null);

/**
 * Runs a command to its end and keeps its output. A failing command is a
 * result, not an error.
 *
 * Returns: NULL, or an error: those of tare_sandbox_spawn().
 * Ownership: `*out` is the caller's, for tare_output_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_run(const tare_sandbox *sandbox,
                             const tare_command *command,
                             tare_output **out);

/**
 * Starts a command in a root directory of the caller's, in a sandbox for this
 * command alone: the third primitive. No image, no copy-on-write: writes of
 * the command stay.
 *
 * `root`: is there. `spec_json`, `spec_len`: as for tare_sandbox_open_in().
 * `fds_or_null`: as for tare_sandbox_spawn().
 *
 * Returns: NULL, or an error: those of tare_sandbox_open() and
 * tare_sandbox_spawn().
 * Ownership: `*out` is the caller's, for tare_process_free(), which also ends
 * the sandbox.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_spawn_in(const tare_store *store,
                          const char *root,
                          const char *spec_json,
                          size_t spec_len,
                          const tare_command *command,
                          tare_process **out,
                          tare_process_fds *fds_or_null);

/**
 * The command's number in its sandbox, for tare_sandbox_process(). No other
 * command of that sandbox gets the same number, not even after
 * tare_sandbox_reset().
 *
 * Returns: 1 or more; 0 for NULL or a handle that is no process.
 * Threads: any, at once.
 * Since: 0.1.
 */
uint64_t tare_process_id(const tare_process *process);

/**
 * Takes the writing end of the command's input; close the descriptor for end
 * of file.
 *
 * Returns: a descriptor; -1 if the input is no pipe or was taken already, for
 * NULL or a handle that is no process.
 * Ownership: the descriptor is the caller's, for close(2).
 * Threads: any; of two calls, one gets the descriptor.
 * Since: 0.1.
 */
int32_t tare_process_take_stdin(tare_process *process);

/**
 * Takes the end of the command's output to read from. Blocking.
 *
 * Returns: a descriptor; -1 if the output is no pipe or was taken already, for
 * NULL or a handle that is no process.
 * Ownership: the descriptor is the caller's, for close(2).
 * Threads: any; of two calls, one gets the descriptor.
 * Since: 0.1.
 */
int32_t tare_process_take_stdout(tare_process *process);

/**
 * Takes the end of the command's standard error to read from. Blocking.
 *
 * Returns: a descriptor; -1 if standard error is no pipe or was taken already,
 * for NULL or a handle that is no process.
 * Ownership: the descriptor is the caller's, for close(2).
 * Threads: any; of two calls, one gets the descriptor.
 * Since: 0.1.
 */
int32_t tare_process_take_stderr(tare_process *process);

/**
 * A descriptor that is readable when the command has ended: for poll(2),
 * epoll(7) and the like, not to be read from.
 *
 * Returns: a descriptor; -1 for NULL or a handle that is no process.
 * Ownership: the descriptor lives as long as the process's handle.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_process_status_fd(const tare_process *process);

/**
 * A pidfd of the command, pidfd_open(2).
 *
 * Returns: a descriptor; -1 for NULL or a handle that is no process.
 * Ownership: the descriptor lives as long as the process's handle.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_process_pidfd(const tare_process *process);

/**
 * The master of the command's terminal, pty(7).
 *
 * Returns: a descriptor; -1 without a terminal, for NULL or a handle that is
 * no process.
 * Ownership: the descriptor lives as long as the process's handle.
 * Threads: any, at once.
 * Since: 0.1.
 */
int32_t tare_process_terminal_fd(const tare_process *process);

/**
 * Waits until the command has ended. Every call gives the same answer.
 *
 * Returns: NULL, or an error. A command that failed is no error: see the
 * status.
 * Threads: any, at once; all are told.
 * Since: 0.1.
 */
tare_error *tare_process_wait(const tare_process *process, tare_status *out);

/**
 * Waits until the command has ended, at most so many nanoseconds; 0 does not
 * wait at all. For a command that still runs, the status has the reason
 * TARE_REASON_RUNNING.
 *
 * Returns: NULL, also for a running command, or an error.
 * Threads: any, at once; each gets the status.
 * Since: 0.1.
 */
tare_error *tare_process_wait_timeout(const tare_process *process,
                                      uint64_t timeout_ns,
                                      tare_status *out);

/**
 * Waits until the command has ended, or until `stop_fd` is readable or hung
 * up, as poll(2) says; the status has the reason TARE_REASON_RUNNING then. So
 * another thread, or a signal handler, ends the wait by writing to an
 * eventfd(2) or a pipe. The command runs on.
 *
 * `stop_fd`: stays the caller's, and is not read from.
 *
 * Returns: NULL, also for a running command, or an error: errno EBADF for a
 * closed descriptor.
 * Threads: any, at once; each gets the status.
 * Since: 0.1.
 */
tare_error *tare_process_wait_unless(const tare_process *process,
                                     int32_t stop_fd,
                                     tare_status *out);

/**
 * Waits until the command has ended and keeps the output of its pipes, or of
 * its terminal; its input is closed first. Output above the command's
 * `output_limit` ends the command with TARE_REASON_OUTPUT. A pipe that was
 * taken before is left to its taker.
 *
 * Returns: NULL, or an error. A command that failed is no error: see the
 * status.
 * Ownership: `*out` is the caller's, for tare_output_free(); the process stays
 * the caller's.
 * Threads: any, but of two at once each gets a part of the output.
 * Since: 0.1.
 */
tare_error *tare_process_output(tare_process *process, tare_output **out);

/**
 * Sends a signal to the command itself; nothing happens after its end.
 *
 * Returns: NULL, or an error: errno EINVAL for a number that is no signal.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_process_signal(const tare_process *process, int32_t signal);

/**
 * Kills the command and all processes that it started, with the reason
 * TARE_REASON_KILLED. Remains of a command that has ended stay. The end is
 * reported when all are dead, also processes that left the session and lost
 * their parents. Two kinds can outlive the call: a process in disk sleep, for
 * which the end waits ten seconds at most; and, beside other commands and
 * without cgroup v2, a process that disguised itself as another command's
 * (docs/threat-model.md).
 *
 * Returns: NULL, or an error: TARE_KIND_BROKEN if the sandbox is gone, and so
 * is the command.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_process_kill(const tare_process *process);

/**
 * Tells the command's terminal another size.
 *
 * Returns: NULL, or an error: TARE_KIND_INVALID without a terminal.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_process_resize(const tare_process *process, uint32_t rows, uint32_t columns);

/**
 * Frees the handle of a command, without a wait or a kill: the sandbox's end
 * kills the command. The sandbox of a tare_spawn_in() ends with the handle.
 * NULL and freed handles are ignored.
 *
 * Ownership: takes `process`, with the descriptors that were not taken.
 * Threads: any, if no thread uses the descriptors any more; calls of other
 * threads that wait continue.
 * Since: 0.1.
 */
void tare_process_free(tare_process *process);

/**
 * The word for one of TARE_REASON_*, for example `timeout`: the same word in
 * every face.
 *
 * Returns: text; NULL for an unknown number.
 * Ownership: the text is the library's and stays.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_reason_name(uint32_t reason);

/**
 * The end of the command.
 *
 * Returns: NULL, or an error for a handle that is no output.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_output_status(const tare_output *output, tare_status *out);

/**
 * Standard output of the command, or output to its terminal, with a NUL behind
 * the last byte.
 *
 * `len_or_null`: gets the number of bytes, without that NUL.
 *
 * Returns: the bytes; NULL for NULL or a handle that is no output.
 * Ownership: the bytes live as long as the output.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_output_stdout(const tare_output *output, size_t *len_or_null);

/**
 * Standard error of the command, with a NUL behind the last byte.
 *
 * `len_or_null`: gets the number of bytes, without that NUL.
 *
 * Returns: the bytes; NULL for NULL or a handle that is no output.
 * Ownership: the bytes live as long as the output.
 * Threads: any, at once.
 * Since: 0.1.
 */
const char *tare_output_stderr(const tare_output *output, size_t *len_or_null);

/**
 * Frees an output. NULL and freed handles are ignored.
 *
 * Ownership: takes `output`; its bytes end.
 * Threads: any, if no thread uses those bytes any more.
 * Since: 0.1.
 */
void tare_output_free(tare_output *output);

/**
 * Gives a handle to files with the rights of a user of the sandbox: a
 * forbidden read or write is EACCES, and new files belong to the user. Through
 * the sandbox's own handle every file can be read and written, and new files
 * belong to 0:0. For tare_file_open() and the other functions on files, and
 * tare_dir_open(), alone; each call with the handle makes a process inside
 * that becomes the user.
 *
 * `user`: `USER[:GROUP]` by name or number, as in a tare_command; each call
 * looks the user up inside, and fails with TARE_KIND_NOT_FOUND for a missing
 * name and EINVAL for an id that the sandbox does not have.
 *
 * Returns: NULL, or an error.
 * Ownership: `*out` is the caller's, for tare_sandbox_free(), which leaves the
 * sandbox unchanged.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_as_user(const tare_sandbox *sandbox, const char *user, tare_sandbox **out);

/**
 * Looks a user of the sandbox up, for tare_file_chown() for example.
 *
 * `user`: `USER[:GROUP]` by name or number.
 *
 * Returns: NULL, or an error: TARE_KIND_NOT_FOUND for a name that /etc/passwd
 * or /etc/group of the sandbox does not have; EINVAL for an id that the
 * sandbox does not have.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_sandbox_user_ids(const tare_sandbox *sandbox,
                                  const char *user,
                                  uint32_t *uid,
                                  uint32_t *gid);

/**
 * Opens a regular file of the sandbox. The descriptor is an ordinary
 * descriptor of this process and stays valid when the sandbox is gone. A
 * program that maps the file must expect the sandbox to shorten it.
 *
 * `path`: absolute, for this and every other function on files. Links on the
 * path stay inside. Only files on file systems that store files are opened; a
 * command inside can read `/proc` and the like. `flags`: O_RDONLY, O_WRONLY or
 * O_RDWR, with any of O_APPEND, O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW. `mode`:
 * permissions of a new file, exactly: no umask. A new file belongs to the
 * sandbox's 0:0, or to the user of tare_sandbox_as_user().
 *
 * Returns: NULL, or an error: those of open(2); TARE_KIND_INVALID if the file
 * is not regular, TARE_KIND_UNSUPPORTED if its file system does not store
 * files.
 * Ownership: `*out` is the caller's, for close(2); close-on-exec.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_open(const tare_sandbox *sandbox,
                           const char *path,
                           int32_t flags,
                           uint32_t mode,
                           int32_t *out);

/**
 * The whole content of a regular file.
 *
 * `limit`: the maximal number of bytes; 0 for 64 MiB.
 *
 * Returns: NULL, or an error: those of tare_file_open(); errno EFBIG for a
 * larger file.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_read(const tare_sandbox *sandbox,
                           const char *path,
                           uint64_t limit,
                           tare_bytes **out);

/**
 * Makes or empties a regular file and writes `len` bytes.
 *
 * `mode`: permissions of a file that is made, exactly.
 *
 * Returns: NULL, or an error: those of tare_file_open() and write(2); a part
 * may be written then.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_write(const tare_sandbox *sandbox,
                            const char *path,
                            const void *data,
                            size_t len,
                            uint32_t mode);

/**
 * Metadata of a file, on any file system.
 *
 * `flags`: 0 or TARE_FILE_NO_FOLLOW.
 *
 * Returns: NULL, or an error: those of stat(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_stat(const tare_sandbox *sandbox,
                           const char *path,
                           uint64_t flags,
                           tare_stat *out);

/**
 * The target of a symbolic link.
 *
 * Returns: NULL, or an error: those of readlink(2), EINVAL if the file is no
 * link.
 * Ownership: `*out` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_readlink(const tare_sandbox *sandbox, const char *path, tare_bytes **out);

/**
 * Makes a directory with exactly these permissions, owner 0:0.
 *
 * `flags`: 0 or TARE_FILE_PARENTS.
 *
 * Returns: NULL, or an error: those of mkdir(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_mkdir(const tare_sandbox *sandbox,
                            const char *path,
                            uint32_t mode,
                            uint64_t flags);

/**
 * Removes anything but a directory; with a flag, a directory. Links are
 * removed, not followed.
 *
 * `flags`: 0, TARE_FILE_DIRECTORY or TARE_FILE_TREE.
 *
 * Returns: NULL, or an error: those of unlink(2) and rmdir(2); of a tree a
 * part may be gone then.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_remove(const tare_sandbox *sandbox, const char *path, uint64_t flags);

/**
 * Renames a file or directory; `to` is replaced.
 *
 * Returns: NULL, or an error: those of rename(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_rename(const tare_sandbox *sandbox, const char *path, const char *to);

/**
 * Gives the file at `path` a second name; a symbolic link is not followed.
 *
 * Returns: NULL, or an error: those of link(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_link(const tare_sandbox *sandbox, const char *path, const char *to);

/**
 * Makes a symbolic link at `path` to any text.
 *
 * Returns: NULL, or an error: those of symlink(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_symlink(const tare_sandbox *sandbox, const char *target, const char *path);

/**
 * Changes the permissions, setuid, setgid and sticky among them; a link is
 * followed.
 *
 * Returns: NULL, or an error: those of chmod(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_chmod(const tare_sandbox *sandbox, const char *path, uint32_t mode);

/**
 * Changes owner and group, as the sandbox sees them; a link is followed. As
 * for anybody, that takes setuid and setgid bits away.
 *
 * Returns: NULL, or an error: those of chown(2), EINVAL for an id that the
 * sandbox does not have.
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_chown(const tare_sandbox *sandbox,
                            const char *path,
                            uint32_t uid,
                            uint32_t gid);

/**
 * Changes the time of the last change of the content; a link is followed.
 *
 * `seconds`: since 1970. `nanoseconds`: to add to these, below 1000000000.
 *
 * Returns: NULL, or an error: those of utimensat(2).
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_set_mtime(const tare_sandbox *sandbox,
                                const char *path,
                                int64_t seconds,
                                uint32_t nanoseconds);

/**
 * Begins to list a directory of the sandbox.
 *
 * Returns: NULL, or an error: those of open(2).
 * Ownership: `*out` is the caller's, for tare_dir_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_dir_open(const tare_sandbox *sandbox, const char *path, tare_dir **out);

/**
 * Reads the next entry, without `.` and `..`, in no order. A file made or
 * removed meanwhile may or may not be listed.
 *
 * `stat_or_null`: gets the entry's metadata, of a link itself. `name`: gets
 * the entry's name, any bytes but `/`; NULL after the last entry.
 *
 * Returns: NULL, or an error: those of getdents(2).
 * Ownership: the name belongs to the directory's handle, until the next call
 * for the handle or its end.
 * Threads: any, one at a time for each directory.
 * Since: 0.1.
 */
tare_error *tare_dir_next(tare_dir *dir, tare_stat *stat_or_null, const char **name);

/**
 * Ends a listing. NULL and freed handles are ignored.
 *
 * Ownership: takes `dir`; its last name ends.
 * Threads: any, if no thread uses that name any more.
 * Since: 0.1.
 */
void tare_dir_free(tare_dir *dir);

/**
 * Copies a file or directory of the caller's into the sandbox. Contents,
 * permissions without setuid and setgid, times and symbolic links are copied;
 * the owner is 0:0; devices, pipes and sockets are left out. A file at `path`
 * is replaced, a directory is not.
 *
 * `local`: a path of this process. `path`: a path inside, with an existing
 * parent. `report_or_null`: gets a JSON object with `entries` (the number
 * copied) and `left_out` (a list of texts: each name left out, and why), here
 * and in the functions below.
 *
 * Returns: NULL, or an error: those of the calls that read here and make files
 * there; a part is copied then.
 * Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_put(const tare_sandbox *sandbox,
                          const char *local,
                          const char *path,
                          tare_bytes **report_or_null);

/**
 * Copies a file or directory out of the sandbox; a link at `path` is followed.
 * The sandbox is not trusted: all copies are the caller's, without setuid and
 * setgid bits, file capabilities, devices, pipes and sockets. Symbolic links
 * are copied unchanged, so follow none of them. A file replaces `local` at
 * once and whole; a directory needs a new or empty target.
 *
 * `path`: there. `local`: here.
 *
 * Returns: NULL, or an error: errno ENOTEMPTY for a directory that holds
 * something; else those of the calls that read there and make files here. A
 * part of a directory is copied then.
 * Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_get(const tare_sandbox *sandbox,
                          const char *path,
                          const char *local,
                          tare_bytes **report_or_null);

/**
 * Extracts a tar archive below a directory of the sandbox: contents, modes,
 * owners, times, links, pipes, `user.*` attributes. The archive may be
 * compressed by gzip or zstd. No file is made outside of `dir`.
 *
 * `dir`: must exist. `archive_fd`: read from its offset to its end; stays the
 * caller's.
 *
 * Returns: NULL, or an error: TARE_KIND_CORRUPT with the entry and its offset
 * for a broken archive; else those of the calls that make files. A part is
 * made then.
 * Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_put_tar(const tare_sandbox *sandbox,
                              const char *dir,
                              int32_t archive_fd,
                              tare_bytes **report_or_null);

/**
 * Writes a tar archive of `path` of the sandbox: of a directory with all
 * entries below, under relative names; of a regular file under its own name.
 * The archive has everything that tare_file_put_tar() makes.
 *
 * `archive_fd`: written from its offset on; stays the caller's. If its reader
 * closes the pipe, the caller gets SIGPIPE, as with write(2).
 *
 * Returns: NULL, or an error: those of the calls that read there, and of
 * write(2); the archive is cut then. TARE_KIND_BUSY if a file shrinks during
 * the call.
 * Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
 * Threads: any, at once.
 * Since: 0.1.
 */
tare_error *tare_file_get_tar(const tare_sandbox *sandbox,
                              const char *path,
                              int32_t archive_fd,
                              tare_bytes **report_or_null);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TARE_H */
