/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * primitives STORE ROOT: for root. The primitives alone: an image unpacked and
 * imported (the environment's IMAGE), a tree mounted, a command in a plain
 * root; and whole trees in and out of a sandbox.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char base[4096];

static const char *in_base(const char *name) {
    static char paths[4][4200];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static int exists(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0;
}

static const char box[] = "{\"image\": \"box\"}";

struct seen {
    int calls, stop;
    uint64_t layers;
};

static int32_t progress(void *data, const tare_progress *progress) {
    struct seen *seen = data;
    seen->calls++;
    if (progress) {
        CHECK(progress->size >= sizeof *progress && progress->layer < progress->layers);
        CHECK(progress->bytes_done <= progress->bytes_total);
        CHECK(!strncmp(progress->digest, "sha256:", 7));
        seen->layers = progress->layers;
    }
    return seen->stop;
}

static void images(const char *reference) {
    struct seen seen = {0, 1, 0};
    tare_import_options options = TARE_IMPORT_OPTIONS_INIT;
    options.progress = progress;
    options.progress_data = &seen;
    const char *names[] = {"box", NULL};
    options.names = names;
    tare_image *image = NULL;
    tare_bytes *bytes;
    fails(ECANCELED, tare_store_import(store, reference, &options, &image));
    CHECK(!image && seen.calls == 1);
    OK(tare_store_list(store, &bytes));
    CHECK(!strcmp(tare_bytes_data(bytes), "[]"));
    tare_bytes_free(bytes);

    seen.stop = 0;
    OK(tare_store_import(store, reference, &options, &image));
    CHECK(seen.layers > 0 && !strncmp(tare_image_digest(image), "sha256:", 7));
    tare_image_free(image);
    OK(tare_store_image(store, "box", NULL, &image));
    OK(tare_image_inspect(image, &bytes));
    CHECK(tare_bytes_len(bytes) > 2);
    tare_bytes_free(bytes);
    tare_image_free(image);

    CHECK(mkdir(in_base("unpacked"), 0755) == 0);
    OK(tare_unpack(NULL, reference, in_base("unpacked"), NULL, &bytes));
    CHECK(exists(in_base("unpacked/bin/busybox")) && tare_bytes_data(bytes)[0] == '{');
    CHECK(strstr(tare_bytes_data(bytes), "\"notes\":[]"));
    tare_bytes_free(bytes);
}

/* Every image of a layout comes with its own names; a broken archive leaves
   nothing. */
static void load(const char *reference) {
    tare_bytes *bytes = NULL;
    OK(tare_store_load(store, reference, NULL, &bytes));
    int count = 0;
    for (const char *at = tare_bytes_data(bytes); (at = strstr(at, "\"notes\":")); at++) count++;
    CHECK(count > 1 && tare_bytes_data(bytes)[0] == '[');
    CHECK(strstr(tare_bytes_data(bytes), "is a tag and no name: dropped"));
    tare_bytes_free(bytes);
    tare_import_options options = TARE_IMPORT_OPTIONS_INIT;
    const char *names[] = {"box", NULL};
    options.names = names;
    FAILS(TARE_KIND_INVALID, tare_store_load(store, reference, &options, &bytes));
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "no archive", 10) == 10 && close(ends[1]) == 0);
    FAILS(TARE_KIND_CORRUPT, tare_store_load_fd(store, ends[0], NULL, &bytes));
    CHECK(read(ends[0], names, 1) == 0 && close(ends[0]) == 0);
    fails(EBADF, tare_store_load_fd(store, ends[0], NULL, &bytes));
}

static void a_tree(void) {
    CHECK(mkdir(in_base("view"), 0755) == 0);
    OK(tare_tree_mount(store, "box", in_base("view"), NULL, 0));
    CHECK(exists(in_base("view/bin/busybox")));
    int fd = open(in_base("view/new"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    FAILS(TARE_KIND_BUSY, tare_tree_unmount(store, in_base("view"), 0));
    CHECK(close(fd) == 0);
    /* A copy of all mounts of the machine keeps each busy for a moment. */
    tare_error *error = tare_tree_unmount(store, in_base("view"), 0);
    for (int tries = 0; error && tare_error_kind(error) == TARE_KIND_BUSY && tries < 2000; tries++) {
        tare_error_free(error);
        usleep(10000);
        error = tare_tree_unmount(store, in_base("view"), 0);
    }
    OK(error);
    CHECK(!exists(in_base("view/bin")) && !exists(in_base("view/new")));
    FAILS(TARE_KIND_NOT_FOUND, tare_tree_unmount(store, in_base("view"), 0));
}

/* The cure of a call's error. */
static char *cure_of(tare_error *error) {
    CHECK(error && tare_error_cure(error));
    char *cure = strdup(tare_error_cure(error));
    tare_error_free(error);
    return cure;
}

static void a_plain_root(const char *root) {
    const char *argv[] = {"sh", "-c", "echo here >/tmp/written; cat", NULL};
    tare_process *none;
    /* Follows each error's cure. */
    tare_command command = {0};
    char *cure = cure_of(tare_spawn_in(store, root, NULL, 0, &command, &none, NULL));
    CHECK(!strcmp(cure, "size = sizeof(tare_command)"));
    free(cure);
    command.size = sizeof(tare_command);
    command.flags = TARE_COMMAND_OF_IMAGE;
    cure = cure_of(tare_spawn_in(store, root, NULL, 0, &command, &none, NULL));
    CHECK(!strcmp(cure, "argv, with flags = 0"));
    free(cure);
    command.argv = argv;
    command.flags = 0;
    feed(&command, "in", 2);
    tare_process *process;
    tare_output *output;
    tare_process_fds fds;
    fds.size = sizeof fds;
    OK(tare_spawn_in(store, root, NULL, 0, &command, &process, &fds));
    CHECK(fds.pidfd >= 0 && fds.status_fd >= 0 && fds.stdin_fd == -1 && fds.terminal_fd == -1);
    char text[8];
    CHECK(read(fds.stdout_fd, text, sizeof text) == 2 && !memcmp(text, "in", 2));
    CHECK(close(fds.stdout_fd) == 0 && close(fds.stderr_fd) == 0);
    OK(tare_process_output(process, &output));
    tare_output_free(output);
    tare_process_free(process);
    char written[4200];
    snprintf(written, sizeof written, "%s/tmp/written", root);
    CHECK(exists(written));
}

static void a_pool(void) {
    const char *line = "ls /tmp | wc -l; touch /tmp/used";
    tare_pool *pool;
    tare_sandbox *sandbox;
    uint64_t ready;
    FAILS(TARE_KIND_INVALID, tare_pool_open(store, NULL, box, strlen(box), 3, 2, &pool));
    OK(tare_pool_open(store, NULL, box, strlen(box), 2, 4, &pool));
    OK(tare_pool_ready(pool, &ready));
    CHECK(ready >= 1 && ready <= 2);
    for (int n = 0; n < 6; n++) {
        OK(tare_pool_take(pool, &sandbox));
        says(sandbox, line, "0\n");
        OK(tare_sandbox_close(sandbox));
    }
    OK(tare_pool_take(pool, &sandbox));
    OK(tare_pool_close(pool));
    FAILS(TARE_KIND_INVALID, tare_pool_close(pool));
    FAILS(TARE_KIND_INVALID, tare_pool_ready(pool, &ready));
    /* The sandbox outlives the pool. */
    says(sandbox, line, "0\n");
    tare_sandbox_free(sandbox);
    OK(tare_pool_open(store, NULL, box, strlen(box), 0, 0, &pool));
    tare_pool_free(pool);
    tare_pool_free(pool);
}

static void trees_in_and_out(void) {
    tare_bytes *bytes, *report;
    tare_sandbox *sandbox = opened(box);
    OK(tare_file_write(sandbox, "/tmp/one", "1", 1, 0600));
    OK(tare_file_get(sandbox, "/tmp", in_base("out"), NULL));
    CHECK(exists(in_base("out/one")));
    OK(tare_file_put(sandbox, in_base("out"), "/put", &report));
    CHECK(strstr(tare_bytes_data(report), "\"entries\""));
    tare_bytes_free(report);
    int tar = open(in_base("out.tar"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    CHECK(tar >= 0);
    OK(tare_file_get_tar(sandbox, "/put", tar, NULL));
    CHECK(lseek(tar, 0, SEEK_SET) == 0);
    OK(tare_file_mkdir(sandbox, "/tarred", 0755, 0));
    OK(tare_file_put_tar(sandbox, "/tarred", tar, NULL));
    CHECK(close(tar) == 0);
    OK(tare_file_read(sandbox, "/tarred/one", 0, &bytes));
    CHECK(!strcmp(tare_bytes_data(bytes), "1"));
    tare_bytes_free(bytes);
    OK(tare_sandbox_close(sandbox));
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    CHECK(getenv("IMAGE"));
    snprintf(base, sizeof base, "%s.work", store_path);
    CHECK(mkdir(base, 0755) == 0);
    OK(tare_store_open(store_path, &store));
    images(getenv("IMAGE"));
    load(getenv("IMAGE"));
    a_tree();
    a_plain_root(root_path);
    trees_in_and_out();
    a_pool();
    tare_store_free(store);
    return done("primitives");
}
