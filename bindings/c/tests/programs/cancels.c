/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * cancels STORE ROOT: threads that pthread_cancel(3) ends inside the library.
 * The call ends as if nothing had happened, the cancellation takes effect
 * behind it, and nothing of the thread's is lost.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"

enum { ROUNDS = 60, SHORT_ROUNDS = 2000 };

/* A thread's handles: the caller frees them after a cancellation. */
struct held {
    tare_store *store;
    tare_sandbox *sandbox;
    tare_pool *pool;
    tare_process *process;
    tare_output *output;
    atomic_int inside;
    atomic_int returned;
    int type;
};

/* A call that must succeed; a thread cancelled afterwards has no error to lose.
   */
#define INSIDE(held, call)                                                                         \
    do {                                                                                           \
        atomic_store(&(held)->inside, 1);                                                          \
        OK(call);                                                                                  \
        atomic_fetch_add(&(held)->returned, 1);                                                    \
        pthread_testcancel();                                                                      \
    } while (0)

static void set_type(const struct held *held) {
    int old;
    CHECK(!pthread_setcanceltype(held->type, &old));
}

static void give_back(struct held *held) {
    if (held->output)
        tare_output_free(held->output);
    if (held->process)
        tare_process_free(held->process);
    if (held->sandbox)
        OK(tare_sandbox_close(held->sandbox));
    if (held->pool)
        OK(tare_pool_close(held->pool));
    if (held->store)
        tare_store_free(held->store);
    /* Only the handle of an error would be unknown here, and no error exists.
       */
    CHECK(tare_handle_count() == 0);
}

/* Cancels a thread inside a call, and checks the cancellation. */
static void cancel(struct held *held, void *(*work)(void *), unsigned after_us) {
    pthread_t thread;
    void *result = NULL;
    CHECK(!pthread_create(&thread, NULL, work, held));
    while (!atomic_load(&held->inside))
        usleep(100);
    usleep(after_us);
    CHECK(!pthread_cancel(thread));
    CHECK(!pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED);
}

/* ---- a long command ---- */

static tare_command begin(struct held *held) {
    OK(tare_store_open(store_path, &held->store));
    OK(tare_sandbox_open(held->store, spec, strlen(spec), &held->sandbox));
    return shell("sleep 1; echo slept");
}

static void *sleeps(void *data) {
    struct held *held = data;
    tare_command command = begin(held);
    set_type(held);
    INSIDE(held, tare_sandbox_run(held->sandbox, &command, &held->output));
    return NULL;
}

static void *waits(void *data) {
    struct held *held = data;
    tare_command command = begin(held);
    tare_status status = TARE_STATUS_INIT;
    OK(tare_sandbox_spawn(held->sandbox, &command, &held->process, NULL));
    set_type(held);
    INSIDE(held, tare_process_wait(held->process, &status));
    return NULL;
}

static void long_calls(int type) {
    struct held held = {.type = type};
    cancel(&held, sleeps, 200000);
    /* The command ran to its end, and its output is there. */
    CHECK(held.output && !strcmp(tare_output_stdout(held.output, NULL), "slept\n"));
    CHECK(type == PTHREAD_CANCEL_ASYNCHRONOUS || held.returned == 1);
    give_back(&held);
    struct held other = {.type = type};
    cancel(&other, waits, 200000);
    tare_status status = TARE_STATUS_INIT;
    OK(tare_process_wait(other.process, &status));
    CHECK(status.reason == TARE_REASON_EXITED && status.exit_code == 0);
    give_back(&other);
}

/* ---- every stage of a sandbox, at any moment ---- */

/* Handles leave `held` before the call that ends them, because a cancellation
   waits for that call's return. */
#define END(held, field, call)                                                                     \
    do {                                                                                           \
        void *ending_ = (held)->field;                                                             \
        (held)->field = NULL;                                                                      \
        call(ending_);                                                                             \
    } while (0)

static void close_sandbox(void *sandbox) { OK(tare_sandbox_close(sandbox)); }
static void close_pool(void *pool) { OK(tare_pool_close(pool)); }
static void free_store(void *kept) { tare_store_free(kept); }
static void free_output(void *output) { tare_output_free(output); }

static void *lives(void *data) {
    struct held *held = data;
    const char *argv[] = {"echo", "x", NULL};
    tare_command command = command_of(argv);
    set_type(held);
    for (;;) {
        INSIDE(held, tare_store_open(store_path, &held->store));
        INSIDE(held, tare_pool_open(held->store, NULL, spec, strlen(spec), 1, 1, &held->pool));
        INSIDE(held, tare_pool_take(held->pool, &held->sandbox));
        INSIDE(held, tare_file_write(held->sandbox, "/tmp/file", "x", 1, 0600));
        INSIDE(held, tare_sandbox_run(held->sandbox, &command, &held->output));
        END(held, output, free_output);
        END(held, sandbox, close_sandbox);
        END(held, pool, close_pool);
        END(held, store, free_store);
    }
    return NULL;
}

static void any_moment(void) {
    unsigned seed = 1;
    for (int n = 0; n < ROUNDS; n++) {
        struct held held = {.type = PTHREAD_CANCEL_DEFERRED};
        cancel(&held, lives, (unsigned)(rand_r(&seed) % 20000));
        give_back(&held);
    }
}

/* ---- the first and the last instructions of a call ---- */

static void *asks(void *data) {
    struct held *held = data;
    set_type(held);
    atomic_store(&held->inside, 1);
    for (;;) {
        (void)tare_handle_count();
        (void)tare_store_path(held->store);
        (void)tare_bytes_len(NULL);
        tare_bytes_free(NULL);
        (void)tare_reason_name(TARE_REASON_EXITED);
    }
    return NULL;
}

static void short_calls(void) {
    unsigned seed = 1;
    struct held held = {.type = PTHREAD_CANCEL_ASYNCHRONOUS};
    OK(tare_store_open(store_path, &held.store));
    for (int n = 0; n < SHORT_ROUNDS; n++) {
        atomic_store(&held.inside, 0);
        cancel(&held, asks, (unsigned)(rand_r(&seed) % 50));
    }
    give_back(&held);
}

/* ---- state that a call leaves alone ---- */

static void state_stays(void) {
    int old;
    CHECK(tare_handle_count() == 0);
    CHECK(!pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old) && old == PTHREAD_CANCEL_ENABLE);
    CHECK(!pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
    CHECK(tare_handle_count() == 0);
    CHECK(!pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old) && old == PTHREAD_CANCEL_DISABLE);
    CHECK(!pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old) && old == PTHREAD_CANCEL_DEFERRED);
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    state_stays();
    any_moment();
    short_calls();
    long_calls(PTHREAD_CANCEL_DEFERRED);
    long_calls(PTHREAD_CANCEL_ASYNCHRONOUS);
    return done("cancels");
}
