/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Shared parts of the test programs: checks that name their place and the
   library's error; commands. */
#ifndef CHECK_H
#define CHECK_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tare.h>
#include <unistd.h>

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

/* Runs a command, which must succeed; its output is the caller's to free. */
static inline char *output_of(const tare_sandbox *sandbox, const char *const *argv) {
    tare_command command = command_of(argv);
    tare_output *output;
    tare_status status = TARE_STATUS_INIT;
    OK(tare_sandbox_run(sandbox, &command, &output));
    OK(tare_output_status(output, &status));
    if (status.reason != TARE_REASON_EXITED || status.exit_code != 0) {
        fprintf(stderr, "%s: %s %d: %s\n", argv[0], tare_reason_name(status.reason), status.exit_code,
                tare_output_stderr(output, NULL));
        exit(1);
    }
    char *text = strdup(tare_output_stdout(output, NULL));
    tare_output_free(output);
    return text;
}

/* The same with a shell's line. */
static inline char *said(const tare_sandbox *sandbox, const char *line) {
    const char *argv[] = {"sh", "-c", line, NULL};
    return output_of(sandbox, argv);
}

#endif
