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
#include <stdint.h>
#include <sys/stat.h>

#include "check.h"

static tare_sandbox *sandbox;

static void open_wrongly(void) {
    tare_sandbox *none = NULL;
    const char *bad = "{\"limits\": {\"memroy\": \"1m\"}}";
    tare_error *error = tare_sandbox_open(store, bad, strlen(bad), &none);
    CHECK(error && tare_error_kind(error) == TARE_KIND_INVALID && !none);
    CHECK(strstr(tare_error_message(error), "memroy"));
    CHECK(strstr(tare_error_cure(error), "memory"));
    tare_error_free(error);
    FAILS(TARE_KIND_INVALID, tare_sandbox_open(store, "{", 1, &none));
    FAILS(TARE_KIND_NOT_FOUND, tare_sandbox_open_in(store, "/nonexistent/root", NULL, 0, &none));
    fails(ENOENT, tare_sandbox_open_in(store, "/nonexistent/root", NULL, 0, &none));
    char below[4096];
    snprintf(below, sizeof below, "%s/oci-layout/x", store_path);
    tare_store *other = NULL;
    fails(ENOTDIR, tare_store_open(below, &other));
    CHECK(!other);
}

static void commands(void) {
    size_t len;
    tare_command c = shell("id -u; echo no >&2; exit 7");
    prints(sandbox, &c, 7, "0\n");
    c = shell("cat; echo err >&2");
    feed(&c, "a\0b", 3);
    tare_output *output = ran(sandbox, &c);
    CHECK(status_of(output).wall_ns > 0);
    CHECK(!memcmp(tare_output_stdout(output, &len), "a\0b", 3) && len == 3);
    CHECK(!strcmp(tare_output_stderr(output, &len), "err\n") && len == 4);
    tare_output_free(output);

    c = shell("yes");
    c.output_limit = 5000;
    output = ran(sandbox, &c);
    CHECK(status_of(output).reason == TARE_REASON_OUTPUT);
    CHECK(tare_output_stdout(output, &len) && len == 5000);
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
        prints(sandbox, &c, 0, "0022\n");
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
    tare_status status = TARE_STATUS_INIT;
    OK(tare_process_wait(process, &status));
    CHECK(status.reason == TARE_REASON_EXITED && status.exit_code == 0);
    tare_process_free(process);
}

static void files(void) {
    tare_bytes *bytes;
    OK(tare_file_write(sandbox, "/tmp/f", "x\0y", 3, 0640));
    OK(tare_file_read(sandbox, "/tmp/f", 100, &bytes));
    CHECK(tare_bytes_len(bytes) == 3 && !memcmp(tare_bytes_data(bytes), "x\0y", 3));
    tare_bytes_free(bytes);
    OK(tare_file_mkdir(sandbox, "/tmp/d/e", 0755, TARE_FILE_PARENTS));
    OK(tare_file_rename(sandbox, "/tmp/f", "/tmp/d/e/g"));
    says(sandbox, "cat /tmp/d/e/g | wc -c", "3\n");
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
    for (size_t i = 0; i < LENGTH(sandboxes); i++) {
        FAILS(TARE_KIND_INVALID, tare_sandbox_run(sandboxes[i], &c, &output));
        FAILS(TARE_KIND_INVALID, tare_sandbox_effective(sandboxes[i], &bytes));
        FAILS(TARE_KIND_INVALID, tare_sandbox_reset(sandboxes[i]));
        tare_sandbox_free(sandboxes[i]);
    }
    tare_process_free(NULL);
    tare_store_free((tare_store *)(void *)sandbox);
    says(sandbox, "echo still", "still\n");
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
    tare_output *output = ran(sandbox, &newer.known);
    CHECK(status_of(output).exit_code == 3);
    tare_status small;
    memset(&small, 0x55, sizeof small);
    small.size = offsetof(tare_status, signal);
    OK(tare_output_status(output, &small));
    CHECK(small.exit_code == 3 && small.signal == 0x55555555);
    tare_output_free(output);
    newer.known.timeout_ns = 0;
    newer.known.size = sizeof newer;
    prints(sandbox, &newer.known, 3, "");
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
        says(sandbox, script, expected);
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
    says(sandbox, "echo the parent goes on", "the parent goes on\n");
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
    read_arguments(argc, argv);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", TARE_VERSION_MAJOR, TARE_VERSION_MINOR,
             TARE_VERSION_PATCH);
    CHECK(!strcmp(tare_version(), version));
    CHECK(tare_has_feature("no such feature") == 0);
    mode_t mask = umask(0123);
    int before = descriptors();

    OK(tare_store_open(store_path, &store));
    open_wrongly();
    const char *box = "{\"hostname\": \"box\", \"limits\": {\"rlimits\": {\"nofile\": 100}}}";
    OK(tare_sandbox_open_in(store, root_path, box, strlen(box), &sandbox));
    says(sandbox, "hostname; ulimit -n; umask", "box\n100\n0022\n");
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
    CHECK(descriptors() == before);
    return done("face");
}
