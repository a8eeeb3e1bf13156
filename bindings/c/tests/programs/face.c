/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * face STORE ROOT: the main job and every noun, on a root directory with
 * busybox in it; wrong handles, wrong structs, threads and a fork. Exit status
 * 0 if all is as tare.h says.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static tare_store *store;
static tare_sandbox *sandbox;

static tare_command shell(const char *script) {
    static _Thread_local const char *argv[] = {"sh", "-c", NULL, NULL};
    argv[2] = script;
    return command_of(argv);
}

static tare_status status_of(const tare_output *output) {
    tare_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    OK(tare_output_status(output, &status));
    return status;
}

/* Runs a script, and compares its output and its end. */
static void runs(const char *script, const char *expected, int32_t exit_code) {
    tare_command c = shell(script);
    tare_output *output;
    size_t len = 0;
    OK(tare_sandbox_run(sandbox, &c, &output));
    const char *text = tare_output_stdout(output, &len);
    tare_status status = status_of(output);
    if (len != strlen(expected) || memcmp(text, expected, len) != 0) {
        fprintf(stderr, "%s: %.*s, not %s\n", script, (int)len, text, expected);
        exit(1);
    }
    CHECK(status.reason == TARE_REASON_EXITED && status.exit_code == exit_code);
    CHECK(status.wall_ns > 0);
    tare_output_free(output);
}

static void open_wrongly(const char *path) {
    tare_sandbox *none = NULL;
    const char *bad = "{\"limits\": {\"memroy\": \"1m\"}}";
    tare_error *error = tare_sandbox_open(store, bad, strlen(bad), &none);
    CHECK(error && tare_error_kind(error) == TARE_KIND_INVALID && !none);
    CHECK(strstr(tare_error_message(error), "memroy"));
    CHECK(strstr(tare_error_cure(error), "memory"));
    tare_error_free(error);
    FAILS(TARE_KIND_INVALID, tare_sandbox_open(store, "{", 1, &none));
    FAILS(TARE_KIND_NOT_FOUND, tare_sandbox_open_in(store, "/nonexistent/root", NULL, 0, &none));
    error = tare_sandbox_open_in(store, "/nonexistent/root", NULL, 0, &none);
    CHECK(tare_error_errno(error) == ENOENT);
    tare_error_free(error);
    char below[4096];
    snprintf(below, sizeof below, "%s/oci-layout/x", path);
    tare_store *other = NULL;
    error = tare_store_open(below, &other);
    CHECK(error && tare_error_errno(error) == ENOTDIR && !other);
    tare_error_free(error);
}

static void commands(void) {
    runs("id -u; echo no >&2; exit 7", "0\n", 7);
    tare_output *output;
    size_t len;

    tare_command c = shell("cat; echo err >&2");
    c.stdin_mode = TARE_STDIO_BYTES;
    c.stdin_data = "a\0b";
    c.stdin_len = 3;
    OK(tare_sandbox_run(sandbox, &c, &output));
    CHECK(!memcmp(tare_output_stdout(output, &len), "a\0b", 3) && len == 3);
    CHECK(!strcmp(tare_output_stderr(output, &len), "err\n") && len == 4);
    tare_output_free(output);

    c = shell("kill -9 $$");
    OK(tare_sandbox_run(sandbox, &c, &output));
    tare_status status = status_of(output);
    CHECK(status.reason == TARE_REASON_SIGNALED && status.signal == SIGKILL);
    tare_output_free(output);

    c = shell("echo part; sleep 60 & wait");
    c.timeout_ns = 300 * 1000 * 1000;
    OK(tare_sandbox_run(sandbox, &c, &output));
    CHECK(status_of(output).reason == TARE_REASON_TIMEOUT);
    CHECK(!strcmp(tare_output_stdout(output, NULL), "part\n"));
    tare_output_free(output);

    c = shell("yes");
    c.output_limit = 5000;
    OK(tare_sandbox_run(sandbox, &c, &output));
    CHECK(status_of(output).reason == TARE_REASON_OUTPUT);
    CHECK(tare_output_stdout(output, &len) && len == 5000);
    tare_output_free(output);

    const char *env[] = {"A=b c", NULL};
    c = shell("echo $A; pwd");
    c.env = env;
    c.cwd = "/etc";
    OK(tare_sandbox_run(sandbox, &c, &output));
    CHECK(!strcmp(tare_output_stdout(output, NULL), "b c\n/etc\n"));
    tare_output_free(output);
    c.cwd = "/not/there";
    FAILS(TARE_KIND_NOT_FOUND, tare_sandbox_run(sandbox, &c, &output));

    const tare_rlimit rlimits[] = {{"nofile", 50, 60}};
    const char *caps[] = {"CHOWN", NULL}, *all[] = {"ALL", NULL};
    c = shell("umask; ulimit -Hn; while read a b; do [ $a = CapEff: ] && echo $b; done </proc/self/status; true");
    c.flags = TARE_COMMAND_UMASK;
    c.umask = 077;
    c.rlimits = rlimits;
    c.rlimits_len = 1;
    c.cap_add = caps;
    c.cap_drop = all;
    OK(tare_sandbox_run(sandbox, &c, &output));
    CHECK(!strcmp(tare_output_stdout(output, NULL), "0077\n60\n0000000000000001\n"));
    tare_output_free(output);
    /* Without the flag, and in a program that was made before there was such a
       field. */
    for (int old = 0; old < 2; old++) {
        c = shell("umask");
        c.umask = 077;
        if (old) {
            c.size = offsetof(tare_command, rlimits);
            c.reserved = 1;
        }
        OK(tare_sandbox_run(sandbox, &c, &output));
        CHECK(!strcmp(tare_output_stdout(output, NULL), "0022\n"));
        tare_output_free(output);
    }
    c.size = sizeof c;
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &c, &output));
    c = shell("true");
    c.flags = 4;
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &c, &output));
    const tare_rlimit unnamed = {NULL, 1, 1};
    c = shell("true");
    c.rlimits = &unnamed;
    c.rlimits_len = 1;
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &c, &output));

    const char *missing[] = {"/no/such/program", NULL};
    c = command_of(missing);
    FAILS(TARE_KIND_NOT_FOUND, tare_sandbox_run(sandbox, &c, &output));
    const char *nothing[] = {NULL};
    c = command_of(nothing);
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &c, &output));
}

static void a_process(void) {
    tare_command c = shell("read x; echo got $x");
    c.stdin_mode = TARE_STDIO_PIPE;
    c.stdout_mode = TARE_STDIO_PIPE;
    tare_process *process;
    OK(tare_sandbox_spawn(sandbox, &c, &process, NULL));
    struct pollfd ends = {.fd = tare_process_status_fd(process), .events = POLLIN};
    CHECK(ends.fd >= 0 && tare_process_pidfd(process) >= 0);
    CHECK(fcntl(ends.fd, F_GETFD) & FD_CLOEXEC);
    CHECK(poll(&ends, 1, 50) == 0);
    int to = tare_process_take_stdin(process), from = tare_process_take_stdout(process);
    CHECK(to >= 0 && from >= 0 && tare_process_take_stdin(process) == -1);
    CHECK(write(to, "it\n", 3) == 3 && close(to) == 0);
    char text[32];
    ssize_t n = read(from, text, sizeof text);
    CHECK(n == 7 && !memcmp(text, "got it\n", 7) && close(from) == 0);
    CHECK(poll(&ends, 1, 20000) == 1);
    tare_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    OK(tare_process_wait(process, &status));
    CHECK(status.reason == TARE_REASON_EXITED && status.exit_code == 0);
    tare_process_free(process);

    c = shell("sleep 60");
    OK(tare_sandbox_spawn(sandbox, &c, &process, NULL));
    OK(tare_process_wait_timeout(process, 1000 * 1000, &status));
    CHECK(status.reason == TARE_REASON_RUNNING);
    OK(tare_process_kill(process));
    OK(tare_process_wait(process, &status));
    CHECK(status.reason == TARE_REASON_KILLED);
    CHECK(!strcmp(tare_reason_name(status.reason), "killed"));
    tare_process_free(process);
}

static void files(void) {
    tare_bytes *bytes;
    OK(tare_file_write(sandbox, "/tmp/f", "x\0y", 3, 0640));
    OK(tare_file_read(sandbox, "/tmp/f", 100, &bytes));
    CHECK(tare_bytes_len(bytes) == 3 && !memcmp(tare_bytes_data(bytes), "x\0y", 3));
    tare_bytes_free(bytes);
    FAILS(TARE_KIND_NOT_FOUND, tare_file_read(sandbox, "/tmp/none", 100, &bytes));
    /* A link inside leads inside. */
    OK(tare_file_symlink(sandbox, "/../../../../tmp/f", "/tmp/l"));
    OK(tare_file_read(sandbox, "/tmp/l", 100, &bytes));
    CHECK(tare_bytes_len(bytes) == 3);
    tare_bytes_free(bytes);
    tare_stat stat;
    memset(&stat, 0, sizeof stat);
    stat.size = sizeof stat;
    OK(tare_file_stat(sandbox, "/tmp/f", 0, &stat));
    CHECK(stat.bytes == 3 && (stat.mode & 07777) == 0640 && S_ISREG(stat.mode));
    OK(tare_file_stat(sandbox, "/tmp/l", TARE_FILE_NO_FOLLOW, &stat));
    CHECK(S_ISLNK(stat.mode));
    tare_dir *dir;
    const char *name;
    int seen = 0;
    OK(tare_dir_open(sandbox, "/tmp", &dir));
    for (;;) {
        OK(tare_dir_next(dir, NULL, &name));
        if (!name)
            break;
        seen += !strcmp(name, "f") || !strcmp(name, "l");
    }
    CHECK(seen == 2);
    tare_dir_free(dir);
    OK(tare_file_mkdir(sandbox, "/tmp/d/e", 0755, TARE_FILE_PARENTS));
    OK(tare_file_rename(sandbox, "/tmp/f", "/tmp/d/e/g"));
    runs("cat /tmp/d/e/g | wc -c", "3\n", 0);
    OK(tare_file_remove(sandbox, "/tmp/d", TARE_FILE_TREE));
    FAILS(TARE_KIND_NOT_FOUND, tare_file_stat(sandbox, "/tmp/d", 0, &stat));
}

static void wrong_handles(void) {
    tare_command c = shell("true");
    tare_output *output;
    tare_bytes *bytes;
    char anything[64] = {0};
    tare_sandbox *sandboxes[] = {
        NULL, (tare_sandbox *)(void *)store, (tare_sandbox *)(void *)anything,
        (tare_sandbox *)(uintptr_t)-1, (tare_sandbox *)8,
    };
    for (size_t i = 0; i < sizeof sandboxes / sizeof *sandboxes; i++) {
        FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandboxes[i], &c, &output));
        FAILS(TARE_KIND_INVALID, tare_sandbox_effective(sandboxes[i], &bytes));
        FAILS(TARE_KIND_INVALID, tare_sandbox_reset(sandboxes[i]));
        tare_sandbox_free(sandboxes[i]);
    }
    tare_process_free(NULL);
    tare_store_free((tare_store *)(void *)sandbox);
    runs("echo still", "still\n", 0);
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, NULL, &output));
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &c, NULL));
    CHECK(tare_process_status_fd(NULL) == -1 && tare_bytes_len(NULL) == 0);
    CHECK(tare_error_errno(NULL) == 0 && tare_error_kind(NULL) == 0);

    tare_bytes *freed;
    OK(tare_sandbox_effective(sandbox, &freed));
    CHECK(strstr(tare_bytes_data(freed), "\"storage\""));
    tare_bytes_free(freed);
    tare_bytes_free(freed);
    CHECK(tare_bytes_len(freed) == 0);
}

static void sizes_of_structs(void) {
    /* A struct of an older header: the size ends behind argv. A struct of a
       newer: zeros behind. */
    struct {
        tare_command known;
        uint64_t later[4];
    } newer;
    memset(&newer, 0, sizeof newer);
    newer.known = shell("exit 3");
    newer.known.timeout_ns = 1; /* not seen by a library that reads only up to argv */
    newer.known.size = offsetof(tare_command, env);
    tare_output *output;
    OK(tare_sandbox_run(sandbox, &newer.known, &output));
    CHECK(status_of(output).exit_code == 3);
    tare_status small;
    memset(&small, 0x55, sizeof small);
    small.size = offsetof(tare_status, signal);
    OK(tare_output_status(output, &small));
    CHECK(small.exit_code == 3 && small.signal == 0x55555555);
    tare_output_free(output);
    newer.known.timeout_ns = 0;
    newer.known.size = sizeof newer;
    OK(tare_sandbox_run(sandbox, &newer.known, &output));
    CHECK(status_of(output).exit_code == 3);
    tare_output_free(output);
    newer.later[3] = 1;
    FAILS(TARE_KIND_UNSUPPORTED, tare_sandbox_run(sandbox, &newer.known, &output));
    newer.known.size = 0;
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &newer.known, &output));
}

static void *many(void *number) {
    for (int i = 0; i < 10; i++) {
        char script[64], expected[32];
        snprintf(script, sizeof script, "echo %d-%d", (int)(intptr_t)number, i);
        snprintf(expected, sizeof expected, "%d-%d\n", (int)(intptr_t)number, i);
        runs(script, expected, 0);
    }
    return NULL;
}

static void threads(void) {
    pthread_t threads[16];
    for (intptr_t i = 0; i < 16; i++)
        CHECK(!pthread_create(&threads[i], NULL, many, (void *)i));
    for (int i = 0; i < 16; i++)
        CHECK(!pthread_join(threads[i], NULL));
}

static void a_fork(void) {
    pid_t child = fork();
    if (child == 0) {
        tare_command c = shell("true");
        tare_output *output;
        tare_error *error = tare_sandbox_run(sandbox, &c, &output);
        tare_sandbox_free(sandbox);
        _exit(error ? 42 : 1);
    }
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    runs("echo the parent goes on", "the parent goes on\n", 0);
}

static int descriptors(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", TARE_VERSION_MAJOR, TARE_VERSION_MINOR,
             TARE_VERSION_PATCH);
    CHECK(!strcmp(tare_version(), version));
    CHECK(tare_has_feature("no such feature") == 0);
    mode_t mask = umask(0123);
    int before = descriptors();

    OK(tare_store_open(argv[1], &store));
    open_wrongly(argv[1]);
    const char *spec = "{\"hostname\": \"box\", \"limits\": {\"rlimits\": {\"nofile\": 100}}}";
    OK(tare_sandbox_open_in(store, argv[2], spec, strlen(spec), &sandbox));
    runs("hostname; ulimit -n; umask", "box\n100\n0022\n", 0);
    commands();
    a_process();
    files();
    wrong_handles();
    sizes_of_structs();
    threads();
    a_fork();
    CHECK(umask(mask) == 0123);

    tare_command c = shell("true");
    tare_output *output;
    OK(tare_sandbox_close(sandbox));
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandbox, &c, &output));
    tare_sandbox_free(sandbox);
    tare_store_free(store);
    tare_store_free(store);
    CHECK(tare_handle_count() == 0);
    CHECK(descriptors() == before);
    puts("face: ok");
    return 0;
}
