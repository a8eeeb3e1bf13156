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

static tare_sandbox *sandbox;

static volatile sig_atomic_t handled;

static void handle(int number) {
    (void)number;
    handled++;
}

/* ---- interrupted ---- */

static void every_noun(void) {
    tare_command command = shell("cat; sleep 0.05; echo done");
    tare_store *before = store;
    tare_output *output;
    tare_process *process;
    tare_image *image;
    tare_bytes *bytes;
    tare_pool *pool;
    tare_sandbox *taken;
    tare_status status = TARE_STATUS_INIT;
    int pipes[2];
    OK(tare_store_open(store_path, &store));
    sandbox = opened(spec);
    feed(&command, "in ", 3);
    prints(sandbox, &command, 0, "in done\n");
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
    OK(tare_sandbox_close(sandbox));
    tare_store_free(store);
    store = before;
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
    sandbox = opened(spec);
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
    OK(tare_sandbox_close(sandbox));
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
    sandbox = opened(spec);
    fails(EPIPE, write_where_nothing_reads());
    OK(tare_sandbox_close(sandbox));
}

static void pipe_of_the_caller(void) {
    sandbox = opened(spec);
    tare_error_free(write_where_nothing_reads());
    CHECK(!"SIGPIPE ends this process");
}

/* Neither the sandbox's end nor the helper's brings a signal. */
static void helper_that_is_gone(void) {
    const char *argv[] = {"cat", NULL};
    tare_command command = command_of(argv);
    tare_output *output;
    tare_error *error;
    int pidfd;
    sandbox = opened(spec);
    feed(&command, "x", 1);
    OK(tare_sandbox_pidfd(sandbox, &pidfd));
    CHECK(!syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
    for (int n = 0; n < 3; n++) {
        error = tare_sandbox_run(sandbox, &command, &output);
        if (!error) {
            CHECK(status_of(output).reason == TARE_REASON_KILLED);
            tare_output_free(output);
        }
        tare_error_free(error);
        /* The files of the process may exist a moment longer. */
        tare_error_free(tare_file_write(sandbox, "/tmp/file", "x", 1, 0644));
    }
    tare_error_free(tare_sandbox_close(sandbox));
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    CHECK(getenv("IMAGE"));
    signal(SIGPIPE, SIG_DFL);
    CHECK(in_child("interrupted", interrupted) == 0);
    CHECK(in_child("a wait that a handler ends", wait_that_a_handler_ends) == 0);
    CHECK(in_child("a pipe, ignored", pipe_ignored) == 0);
    int status = in_child("a pipe of the caller", pipe_of_the_caller);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    CHECK(in_child("a helper that is gone", helper_that_is_gone) == 0);
    return done("signals");
}
