/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Shared parts of the test programs: arguments, checks that name their place
   and the library's error, commands, child processes. */
#ifndef CHECK_H
#define CHECK_H

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tare.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A call that must succeed. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        tare_error *error_ = (call);                                                               \
        if (error_) {                                                                              \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                          \
                    tare_error_message(error_));                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A call that must fail with this kind; the error is looked at and freed. */
#define FAILS(wanted, call)                                                                        \
    do {                                                                                           \
        tare_error *error_ = (call);                                                               \
        if (!error_ || tare_error_kind(error_) != (wanted)) {                                      \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                          \
                    error_ ? tare_error_message(error_) : "succeeded");                            \
            exit(1);                                                                               \
        }                                                                                          \
        CHECK(strlen(tare_error_message(error_)) > 10);                                            \
        CHECK(strlen(tare_error_step(error_)) > 0);                                                \
        CHECK(!strchr(tare_error_message(error_), '\n'));                                          \
        tare_error_free(error_);                                                                   \
    } while (0)

/* A call that must fail with this errno. */
static inline void fails(int wanted, tare_error *error) {
    if (!error || tare_error_errno(error) != wanted) {
        fprintf(stderr, "not %s: %s\n", strerror(wanted), error ? tare_error_message(error) : "succeeded");
        exit(1);
    }
    tare_error_free(error);
}

/* The arguments STORE and ROOT, and the root as a spec. */
#define SHARED static __attribute__((unused))
SHARED const char *store_path, *root_path;
SHARED char spec[PATH_MAX + 64];
SHARED tare_store *store;

static inline void read_arguments(int argc, char **argv) {
    CHECK(argc == 3);
    store_path = argv[1];
    root_path = argv[2];
    snprintf(spec, sizeof spec, "{\"image\": \"dir:%s\"}", root_path);
}

/* The end of a program, which holds nothing. */
static inline int done(const char *name) {
    CHECK(tare_handle_count() == 0);
    printf("%s: ok\n", name);
    return 0;
}

/* Returns whether the caller is root of the machine: uid 0, every id mapped. */
static inline int is_machine_root(void) {
    unsigned inside = 1, outside = 1, count = 0;
    FILE *map = fopen("/proc/self/uid_map", "re");
    CHECK(map && fscanf(map, "%u %u %u", &inside, &outside, &count) == 3);
    fclose(map);
    return geteuid() == 0 && inside == 0 && outside == 0 && count == UINT_MAX;
}

static inline tare_command command_of(const char *const *argv) {
    tare_command command = TARE_COMMAND_INIT;
    command.argv = argv;
    return command;
}

/* A shell's line, until the thread's next. */
static inline tare_command shell(const char *line) {
    static _Thread_local const char *argv[] = {"sh", "-c", NULL, NULL};
    argv[2] = line;
    return command_of(argv);
}

/* Gives a command this text for input. */
static inline void feed(tare_command *command, const void *data, size_t len) {
    command->stdin_mode = TARE_STDIO_BYTES;
    command->stdin_data = data;
    command->stdin_len = len;
}

/* Runs a command; the output is the caller's to free. */
static inline tare_output *ran(const tare_sandbox *sandbox, const tare_command *command) {
    tare_output *output;
    OK(tare_sandbox_run(sandbox, command, &output));
    return output;
}

static inline tare_status status_of(const tare_output *output) {
    tare_status status = TARE_STATUS_INIT;
    OK(tare_output_status(output, &status));
    return status;
}

/* Runs a command that exits with this code; its output is the caller's to free.
   */
static inline char *output_of(const tare_sandbox *sandbox, const tare_command *command, int exit_code) {
    tare_output *output = ran(sandbox, command);
    tare_status status = status_of(output);
    if (status.reason != TARE_REASON_EXITED || status.exit_code != exit_code) {
        fprintf(stderr, "%s: %s %d: %s\n", command->argv[0], tare_reason_name(status.reason), status.exit_code,
                tare_output_stderr(output, NULL));
        exit(1);
    }
    char *text = strdup(tare_output_stdout(output, NULL));
    tare_output_free(output);
    return text;
}

/* The same with a shell's line that succeeds. */
static inline char *said(const tare_sandbox *sandbox, const char *line) {
    tare_command command = shell(line);
    return output_of(sandbox, &command, 0);
}

/* Runs a command that prints this. */
static inline void prints(const tare_sandbox *sandbox, const tare_command *command, int code, const char *expected) {
    char *text = output_of(sandbox, command, code);
    if (strcmp(text, expected)) {
        fprintf(stderr, "%s: \"%s\", not \"%s\"\n", command->argv[2], text, expected);
        exit(1);
    }
    free(text);
}

/* The same with a shell's line that succeeds. */
static inline void says(const tare_sandbox *sandbox, const char *line, const char *expected) {
    tare_command command = shell(line);
    prints(sandbox, &command, 0, expected);
}

/* Opens a sandbox of a spec. */
static inline tare_sandbox *opened(const char *json) {
    tare_sandbox *sandbox;
    OK(tare_sandbox_open(store, json, strlen(json), &sandbox));
    return sandbox;
}

/* Runs a host in a process of its own, which begins without a helper, with the
   store open; returns the status of wait(2). No signal is left pending or
   blocked. */
static inline int in_child(const char *name, void (*host)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t pending, blocked;
        OK(tare_store_open(store_path, &store));
        host();
        tare_store_free(store);
        CHECK(tare_handle_count() == 0);
        CHECK(!sigpending(&pending) && !sigismember(&pending, SIGXFSZ));
        CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &blocked) && !sigismember(&blocked, SIGXFSZ));
        _exit(0);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    printf("%s: status %#x\n", name, (unsigned)status);
    fflush(stdout);
    return status;
}

#endif
