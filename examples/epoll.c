/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * epoll STORE SPEC: a hundred sandboxes in one loop and one thread.
 *
 * Each is opened with SPEC (JSON), runs one command, and is waited for by its
 * status descriptor; what the commands wrote is read when they have ended.
 *
 * cc epoll.c $(pkg-config --cflags --libs tare) -o epoll && ./epoll /tmp/store
 * '{"image": "host"}'
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <tare.h>
#include <unistd.h>

enum { SANDBOXES = 100 };

struct job {
    tare_sandbox *sandbox;
    tare_process *process;
};

static void check(tare_error *error) {
    if (!error)
        return;
    fprintf(stderr, "%s\n", tare_error_message(error));
    exit(1);
}

static struct job start(const tare_store *store, const char *spec, int number) {
    struct job job;
    char script[64];
    snprintf(script, sizeof script, "echo $((%d * %d))", number, number);
    const char *argv[] = {"sh", "-c", script, NULL};
    tare_command command = TARE_COMMAND_INIT;
    command.argv = argv;
    command.stdout_mode = TARE_STDIO_PIPE;
    check(tare_sandbox_open(store, spec, strlen(spec), &job.sandbox));
    check(tare_sandbox_spawn(job.sandbox, &command, &job.process, NULL));
    return job;
}

/* Takes the output of a command that has ended, and ends its sandbox. */
static long finish(struct job *job) {
    tare_output *output;
    check(tare_process_output(job->process, &output));
    long answer = atol(tare_output_stdout(output, NULL));
    tare_output_free(output);
    tare_process_free(job->process);
    check(tare_sandbox_close(job->sandbox));
    return answer;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: epoll STORE SPEC\n");
        return 2;
    }
    tare_store *store;
    check(tare_store_open(argv[1], &store));
    int loop = epoll_create1(EPOLL_CLOEXEC);
    static struct job jobs[SANDBOXES];
    for (int i = 0; i < SANDBOXES; i++) {
        jobs[i] = start(store, argv[2], i);
        struct epoll_event event;
        event.events = EPOLLIN;
        event.data.u64 = (unsigned)i;
        if (epoll_ctl(loop, EPOLL_CTL_ADD, tare_process_status_fd(jobs[i].process), &event)) {
            perror("epoll_ctl");
            return 1;
        }
    }
    long sum = 0;
    for (int left = SANDBOXES; left;) {
        struct epoll_event ended[16];
        int n = epoll_wait(loop, ended, 16, -1);
        for (int i = 0; i < n; i++, left--)
            sum += finish(&jobs[ended[i].data.u64]);
    }
    close(loop);
    tare_store_free(store);
    printf("%d sandboxes, sum %ld\n", SANDBOXES, sum);
    return 0;
}
