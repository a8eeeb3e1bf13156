/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * logs STORE ROOT: the log of the library, received by a function of the
 * program. The image to import is in $IMAGE.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"

struct told {
    pthread_mutex_t lock;
    char text[1 << 16];
    unsigned lines;
};

static void tell(void *data, uint32_t level, const char *text) {
    struct told *told = data;
    CHECK(level >= TARE_LOG_WARNING && level <= TARE_LOG_DEBUG && !strchr(text, '\n'));
    /* The function may use the library. */
    CHECK(tare_version()[0]);
    pthread_mutex_lock(&told->lock);
    strncat(told->text, text, sizeof told->text - strlen(told->text) - 2);
    strcat(told->text, "\n");
    told->lines++;
    pthread_mutex_unlock(&told->lock);
}

/* Runs a command in an open sandbox. */
static void work(void) {
    const char *env[] = {"TOKEN=secret-value", NULL};
    tare_command command = shell("exit 3 # secret-argument");
    tare_sandbox *sandbox = opened(spec);
    command.env = env;
    tare_output_free(ran(sandbox, &command));
    command = shell("kill -9 $$");
    tare_output_free(ran(sandbox, &command));
    OK(tare_sandbox_reset(sandbox));
    OK(tare_sandbox_close(sandbox));
    tare_sandbox_free(opened(spec));
}

static void has(const struct told *told, const char *word) {
    if (!strstr(told->text, word)) {
        fprintf(stderr, "nothing told of \"%s\" in:\n%s", word, told->text);
        exit(1);
    }
}

static void *works(void *unused) {
    (void)unused;
    work();
    return NULL;
}

int main(int argc, char **argv) {
    static struct told told = {PTHREAD_MUTEX_INITIALIZER, "", 0};
    pthread_t threads[4];
    tare_image *image;
    read_arguments(argc, argv);
    CHECK(getenv("IMAGE"));
    OK(tare_store_open(store_path, &store));
    work();
    tare_set_log(tell, &told, TARE_LOG_DEBUG);
    OK(tare_store_import(store, getenv("IMAGE"), NULL, &image));
    tare_image_free(image);
    work();
    const char *words[] = {"busybox\": in the store", ": opened\n", "\"sh\" started\n", "exited, code 3\n",
                           "signaled, signal 9\n", ": reset, now ", ": closed\n", ": dropped\n"};
    for (size_t n = 0; n < LENGTH(words); n++)
        has(&told, words[n]);
    CHECK(!strstr(told.text, "secret"));
    /* Called by several threads, and no more after the log is off. */
    unsigned lines = told.lines;
    for (int n = 0; n < 4; n++)
        CHECK(!pthread_create(&threads[n], NULL, works, NULL));
    for (int n = 0; n < 4; n++)
        pthread_join(threads[n], NULL);
    CHECK(told.lines >= lines + 4 * 9);
    lines = told.lines;
    tare_set_log(tell, &told, TARE_LOG_WARNING);
    work();
    tare_set_log(tell, &told, 0);
    work();
    tare_set_log(NULL, NULL, TARE_LOG_DEBUG);
    work();
    CHECK(told.lines == lines);
    tare_store_free(store);
    return done("logs");
}
