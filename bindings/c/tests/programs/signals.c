/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * signals STORE ROOT: hosts that get signals. Handlers that interrupt every
 * call change no result, and SIGPIPE comes only where the caller's own write(2)
 * would bring the signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static const char *store_path;
static char spec[PATH_MAX + 64];
static tare_store *store;
static tare_sandbox *sandbox;

static volatile sig_atomic_t handled;

static void handle(int number) {
    (void)number;
    handled++;
}

static void open_sandbox(void) {
    OK(tare_store_open(store_path, &store));
    OK(tare_sandbox_open(store, spec, strlen(spec), &sandbox));
}

static void close_sandbox(void) {
    OK(tare_sandbox_close(sandbox));
    tare_store_free(store);
}

/* ---- interrupted ---- */

static void every_noun(void) {
    const char *argv[] = {"sh", "-c", "cat; sleep 0.05; echo done", NULL};
    tare_command command = command_of(argv);
    tare_output *output;
    tare_process *process;
    tare_image *image;
    tare_bytes *bytes;
    tare_pool *pool;
    tare_sandbox *taken;
    tare_status status = TARE_STATUS_INIT;
    int pipes[2];
    open_sandbox();
    command.stdin_mode = TARE_STDIO_BYTES;
    command.stdin_data = "in ";
    command.stdin_len = 3;
    OK(tare_sandbox_run(sandbox, &command, &output));
    CHECK(!strcmp(tare_output_stdout(output, NULL), "in done\n"));
    tare_output_free(output);
    OK(tare_sandbox_spawn(sandbox, &command, &process, NULL));
    OK(tare_process_wait_timeout(process, 1000 * 1000, &status));
    CHECK(status.reason == TARE_REASON_RUNNING);
    OK(tare_process_output(process, &output));
    OK(tare_process_wait(process, &status));
    CHECK(status.reason == TARE_REASON_EXITED && status.exit_code == 0);
    tare_output_free(output);
    tare_process_free(process);
    OK(tare_file_write(sandbox, "/tmp/file", "x", 1, 0644));
    CHECK(!pipe2(pipes, O_CLOEXEC));
    OK(tare_file_get_tar(sandbox, "/tmp", pipes[1], NULL));
    close(pipes[1]);
    OK(tare_file_mkdir(sandbox, "/copy", 0755, 0));
    OK(tare_file_put_tar(sandbox, "/copy", pipes[0], NULL));
    close(pipes[0]);
    OK(tare_sandbox_reset(sandbox));
    OK(tare_pool_open(store, NULL, spec, strlen(spec), 1, 1, &pool));
    OK(tare_pool_take(pool, &taken));
    OK(tare_sandbox_close(taken));
    OK(tare_pool_close(pool));
    OK(tare_store_image(store, getenv("IMAGE"), NULL, &image));
    tare_image_free(image);
    OK(tare_store_check(store, &bytes));
    tare_bytes_free(bytes);
    OK(tare_doctor(store_path, &bytes));
    tare_bytes_free(bytes);
    close_sandbox();
}

/* No call of the library is restarted by the kernel. */
static void interrupted(void) {
    struct sigaction action = {.sa_handler = handle};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    CHECK(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
    for (int n = 0; n < 5; n++)
        every_noun();
    CHECK(!setitimer(ITIMER_REAL, &never, NULL) && handled > 10);
}

/* A handler ends a wait by the only call that a handler may make. */
static int stop[2];

static void write_to_stop(int number) {
    (void)number;
    CHECK(write(stop[1], "x", 1) == 1);
}

static void wait_that_a_handler_ends(void) {
    const char *argv[] = {"sleep", "1000", NULL};
    tare_command command = command_of(argv);
    tare_process *process;
    tare_status status = TARE_STATUS_INIT;
    struct sigaction action = {.sa_handler = write_to_stop};
    struct itimerval soon = {{0, 0}, {0, 50000}};
    open_sandbox();
    OK(tare_sandbox_spawn(sandbox, &command, &process, NULL));
    CHECK(!pipe2(stop, O_CLOEXEC));
    CHECK(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &soon, NULL));
    OK(tare_process_wait_unless(process, stop[0], &status));
    CHECK(status.reason == TARE_REASON_RUNNING);
    OK(tare_process_kill(process));
    close(stop[0]);
    CHECK(!pipe2(stop, O_CLOEXEC));
    OK(tare_process_wait_unless(process, stop[0], &status));
    CHECK(status.reason == TARE_REASON_KILLED);
    FAILS(TARE_KIND_OS, tare_process_wait_unless(process, 100000, &status));
    FAILS(TARE_KIND_OS, tare_process_wait_unless(process, -1, &status));
    tare_process_free(process);
    close_sandbox();
}

/* ---- SIGPIPE ---- */

static tare_error *write_where_nothing_reads(void) {
    int pipes[2];
    CHECK(!pipe2(pipes, O_CLOEXEC) && !close(pipes[0]));
    tare_error *error = tare_file_get_tar(sandbox, "/bin", pipes[1], NULL);
    close(pipes[1]);
    return error;
}

static void pipe_ignored(void) {
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    open_sandbox();
    tare_error *error = write_where_nothing_reads();
    CHECK(error && tare_error_errno(error) == EPIPE);
    tare_error_free(error);
    close_sandbox();
}

static void pipe_of_the_caller(void) {
    open_sandbox();
    tare_error_free(write_where_nothing_reads());
    CHECK(!"SIGPIPE ends this process");
}

/* Neither the sandbox's end nor the helper's brings a signal. */
static void helper_that_is_gone(void) {
    const char *argv[] = {"cat", NULL};
    tare_command command = command_of(argv);
    tare_output *output;
    tare_status status = TARE_STATUS_INIT;
    tare_error *error;
    int pidfd;
    open_sandbox();
    command.stdin_mode = TARE_STDIO_BYTES;
    command.stdin_data = "x";
    command.stdin_len = 1;
    OK(tare_sandbox_pidfd(sandbox, &pidfd));
    CHECK(!syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
    for (int n = 0; n < 3; n++) {
        error = tare_sandbox_run(sandbox, &command, &output);
        if (!error) {
            OK(tare_output_status(output, &status));
            CHECK(status.reason == TARE_REASON_KILLED);
            tare_output_free(output);
        }
        tare_error_free(error);
        /* The files of the process may exist a moment longer. */
        tare_error_free(tare_file_write(sandbox, "/tmp/file", "x", 1, 0644));
    }
    tare_error_free(tare_sandbox_close(sandbox));
    tare_store_free(store);
}

/* Runs in a separate process, and returns the signal that ended it, or 0. */
static int ending(const char *name, void (*run)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        run();
        CHECK(tare_handle_count() == 0);
        _exit(0);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) == 0);
    printf("%s: done\n", name);
    fflush(stdout);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 3 && getenv("IMAGE"));
    store_path = argv[1];
    snprintf(spec, sizeof spec, "{\"image\": \"dir:%s\"}", argv[2]);
    CHECK(ending("interrupted", interrupted) == 0);
    CHECK(ending("a wait that a handler ends", wait_that_a_handler_ends) == 0);
    CHECK(ending("a pipe, ignored", pipe_ignored) == 0);
    CHECK(ending("a pipe of the caller", pipe_of_the_caller) == SIGPIPE);
    CHECK(ending("a helper that is gone", helper_that_is_gone) == 0);
    puts("signals: ok");
    return 0;
}
