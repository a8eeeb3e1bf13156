/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * begins STORE ROOT: a host with an event loop. An opening or import is ready
 * when poll(2) says so, ends when freed, and takes no signal of the host's.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { MANY = 20, LONG = 60 * 1000 };

static char image_spec[PATH_MAX + 64], endless[PATH_MAX + 64];
static char fifo_image[PATH_MAX + 16];

static int is_readable(int fd, int timeout) {
    struct pollfd at = {fd, POLLIN, 0};
    return poll(&at, 1, timeout) == 1;
}

static tare_opening *begin(const char *json) {
    tare_opening *opening;
    OK(tare_sandbox_begin(store, NULL, NULL, json, strlen(json), &opening));
    return opening;
}

/* Waits as an event loop does. */
static tare_sandbox *finished(tare_opening *opening) {
    tare_sandbox *sandbox;
    while (!tare_opening_ready(opening))
        CHECK(is_readable(tare_opening_fd(opening), LONG));
    OK(tare_opening_finish(opening, &sandbox));
    return sandbox;
}

static void works(tare_sandbox *sandbox) {
    says(sandbox, "echo well", "well\n");
    OK(tare_sandbox_close(sandbox));
}

static void many_at_once(void) {
    tare_opening *openings[MANY];
    for (int n = 0; n < MANY; n++)
        openings[n] = begin(spec);
    for (int n = 0; n < MANY; n++)
        works(finished(openings[n]));
}

static void each_place(void) {
    tare_opening *opening;
    tare_image *image;
    tare_sandbox *sandbox;
    works(finished(begin(image_spec)));
    OK(tare_store_image(store, getenv("IMAGE"), NULL, &image));
    OK(tare_sandbox_begin(store, image, NULL, NULL, 0, &opening));
    FAILS(TARE_KIND_INVALID, tare_sandbox_begin(store, image, root_path, NULL, 0, &opening));
    tare_image_free(image);
    works(finished(opening));
    OK(tare_sandbox_begin(store, NULL, root_path, NULL, 0, &opening));
    /* Too early is no error. */
    OK(tare_opening_finish(opening, &sandbox));
    works(sandbox);
}

static int threads(void) {
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    while (readdir(tasks))
        n++;
    closedir(tasks);
    return n - 2;
}

static int32_t no_progress(void *data, const tare_progress *progress) {
    (void)data, (void)progress;
    return 0;
}

static volatile sig_atomic_t in_thread, handled;

static void handle(int number) {
    (void)number;
    handled = 1;
    in_thread = gettid() != getpid();
}

/* The image's archive has no writer, so the library's thread waits. */
static void freed(void) {
    struct sigaction action = {.sa_handler = handle};
    struct timespec moment = {0, 5 * 1000 * 1000};
    sigset_t set, before;
    tare_opening *opening = begin(endless);
    CHECK(!is_readable(tare_opening_fd(opening), 0) && !tare_opening_ready(opening));
    CHECK(threads() == 2);
    /* Only the library's thread could take the signal. */
    CHECK(!sigaction(SIGUSR1, &action, NULL));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(!sigprocmask(SIG_BLOCK, &set, &before) && !kill(getpid(), SIGUSR1));
    CHECK(!is_readable(tare_opening_fd(opening), 50) && !handled);
    CHECK(!sigprocmask(SIG_SETMASK, &before, NULL) && handled && !in_thread);
    tare_opening_free(opening);
    tare_opening_free(begin(spec));
    while (threads() > 1)
        nanosleep(&moment, NULL);
}

static void imports(void) {
    tare_importing *importing, *none = NULL;
    tare_import_progress so_far = TARE_IMPORT_PROGRESS_INIT;
    tare_import_options options = TARE_IMPORT_OPTIONS_INIT;
    const char *names[] = {"it", NULL};
    struct timespec moment = {0, 5 * 1000 * 1000};
    tare_image *image = NULL;
    options.names = names;
    OK(tare_store_begin_import(store, getenv("IMAGE"), &options, &importing));
    CHECK(is_readable(tare_importing_fd(importing), LONG));
    OK(tare_importing_progress(importing, &so_far));
    CHECK(so_far.begun <= so_far.layers && so_far.bytes_done == so_far.bytes_total);
    OK(tare_importing_finish(importing, &image));
    CHECK(threads() == 1);
    works(finished(begin("{\"image\": \"it\"}")));
    tare_image_free(image);
    FAILS(TARE_KIND_INVALID, tare_importing_finish(importing, &image));
    FAILS(TARE_KIND_INVALID, tare_importing_progress(importing, &so_far));
    CHECK(tare_importing_fd(importing) == -1);
    tare_importing_free(importing);
    /* The error comes from the finish. */
    OK(tare_store_begin_import(store, "oci:/nowhere", NULL, &importing));
    FAILS(TARE_KIND_NOT_FOUND, tare_importing_finish(importing, &image));
    options.progress = no_progress;
    FAILS(TARE_KIND_INVALID, tare_store_begin_import(store, getenv("IMAGE"), &options, &none));
    CHECK(!none);
    OK(tare_store_begin_import(store, fifo_image, NULL, &importing));
    CHECK(!is_readable(tare_importing_fd(importing), 0) && threads() == 2);
    tare_importing_free(importing);
    while (threads() > 1)
        nanosleep(&moment, NULL);
}

static void forked(void) {
    tare_opening *all[] = {begin(endless), begin(spec)};
    tare_sandbox *sandbox;
    pid_t pid = fork();
    if (pid == 0) {
        for (int n = 0; n < 2; n++) {
            tare_opening_ready(all[n]);
            FAILS(TARE_KIND_INVALID, tare_opening_finish(all[n], &sandbox));
        }
        _exit(0);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    tare_opening_free(all[0]);
    works(finished(all[1]));
}

static void wrong(void) {
    tare_opening *opening = begin(spec), *none = NULL;
    tare_sandbox *sandbox = NULL;
    const char *bad = "{\"image\": \"nowhere\"}";
    FAILS(TARE_KIND_NOT_FOUND, tare_sandbox_begin(store, NULL, NULL, bad, strlen(bad), &none));
    FAILS(TARE_KIND_INVALID, tare_sandbox_begin(NULL, NULL, NULL, spec, strlen(spec), &none));
    FAILS(TARE_KIND_INVALID, tare_sandbox_begin(store, NULL, NULL, spec, strlen(spec), NULL));
    CHECK(!none && tare_opening_fd(NULL) == -1 && tare_opening_ready(NULL) == 1);
    FAILS(TARE_KIND_INVALID, tare_opening_finish(NULL, &sandbox));
    FAILS(TARE_KIND_INVALID, tare_opening_finish((tare_opening *)store, &sandbox));
    works(finished(opening));
    CHECK(tare_opening_fd(opening) == -1);
    FAILS(TARE_KIND_INVALID, tare_opening_finish(opening, &sandbox));
    tare_opening_free(opening);
    tare_opening_free(NULL);
}

static void next(tare_events *events, tare_event *event) {
    do {
        OK(tare_events_next(events, event));
    } while (event->kind == TARE_EVENT_NONE && is_readable(tare_events_fd(events), LONG));
}

/* Kills for want of memory, where this user's are counted; the end. */
static void events(void) {
    char small[PATH_MAX + 128];
    tare_events *events = NULL;
    tare_event event = TARE_EVENT_INIT;
    tare_sandbox *sandbox = finished(begin(spec));
    FAILS(TARE_KIND_UNSUPPORTED, tare_sandbox_events(sandbox, &events));
    CHECK(!events && tare_events_fd(events) == -1);
    FAILS(TARE_KIND_INVALID, tare_events_next(events, &event));
    tare_events_free(events);
    OK(tare_sandbox_close(sandbox));
    if (!is_machine_root())
        return;
    snprintf(small, sizeof small, "{\"image\": \"dir:%s\", \"limits\": {\"memory\": \"24m\", \"swap\": 0}}", root_path);
    sandbox = finished(begin(small));
    OK(tare_sandbox_events(sandbox, &events));
    OK(tare_events_next(events, &event));
    CHECK(event.kind == TARE_EVENT_NONE && event.oom_kills == 0);
    for (int n = 0; n < 3; n++) {
        free(said(sandbox, "sh -c 'x=$(yes)' 2>/dev/null || true"));
        next(events, &event);
        CHECK(event.kind == TARE_EVENT_OOM && event.oom_kills == 1);
    }
    OK(tare_sandbox_close(sandbox));
    next(events, &event);
    CHECK(event.kind == TARE_EVENT_GONE && is_readable(tare_events_fd(events), 0));
    tare_events_free(events);
}

int main(int argc, char **argv) {
    char fifo[PATH_MAX];
    read_arguments(argc, argv);
    CHECK(getenv("IMAGE"));
    snprintf(image_spec, sizeof image_spec, "{\"image\": \"%s\"}", getenv("IMAGE"));
    snprintf(fifo, sizeof fifo, "%s/../fifo", root_path);
    CHECK(!mkfifo(fifo, 0600));
    snprintf(fifo_image, sizeof fifo_image, "archive:%s", fifo);
    snprintf(endless, sizeof endless, "{\"image\": \"archive:%s\"}", fifo);
    OK(tare_store_open(store_path, &store));
    many_at_once();
    each_place();
    freed();
    imports();
    forked();
    wrong();
    events();
    tare_store_free(store);
    return done("begins");
}
