/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * sizes STORE ROOT: hosts whose files may not grow, RLIMIT_FSIZE. A call that
 * must write fails with EFBIG and a cure; no signal comes, and none stays
 * pending. The image to import is in $IMAGE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char here[PATH_MAX];
static rlim_t most;

static void limit(void) {
    struct rlimit now;
    CHECK(!getrlimit(RLIMIT_FSIZE, &now));
    now.rlim_cur = most;
    CHECK(!setrlimit(RLIMIT_FSIZE, &now));
}

/* An error that names the errno and the cure. */
static void refused(const char *what, tare_error *error) {
    if (!error || tare_error_errno(error) != EFBIG || !tare_error_cure(error) ||
        !strstr(tare_error_cure(error), "ulimit -f")) {
        fprintf(stderr, "%s: %s\n", what, error ? tare_error_message(error) : "succeeded");
        exit(1);
    }
    CHECK(tare_error_kind(error) == TARE_KIND_EXHAUSTED);
    tare_error_free(error);
}
#define REFUSED(call) refused(#call, call)

/* ---- the hosts ---- */

static void opens_a_new_store(void) {
    char path[PATH_MAX + 16];
    tare_store *made;
    snprintf(path, sizeof path, "%s/new", here);
    limit();
    /* The first files of a store are some tens of bytes long. */
    if (most == 0)
        REFUSED(tare_store_open(path, &made));
}

static void opens_a_sandbox(void) {
    tare_sandbox *sandbox;
    tare_pool *pool;
    limit();
    REFUSED(tare_sandbox_open(store, spec, strlen(spec), &sandbox));
    REFUSED(tare_pool_open(store, NULL, spec, strlen(spec), 1, 1, &pool));
}

static void uses_a_sandbox(void) {
    static char much[100000];
    char local[PATH_MAX + 16];
    tare_sandbox *sandbox = opened(spec), *taken;
    tare_command command = shell("cat");
    tare_output *output;
    tare_pool *pool;
    OK(tare_pool_open(store, NULL, spec, strlen(spec), 2, 2, &pool));
    OK(tare_file_write(sandbox, "/tmp/much", much, sizeof much, 0600));
    snprintf(local, sizeof local, "%s/local", here);
    int fd = open(local, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    limit();
    /* Calls without files work: output comes through pipes, the helper makes a
       pool's sandboxes. */
    says(sandbox, "cat", "");
    OK(tare_pool_take(pool, &taken));
    says(taken, "cat", "");
    feed(&command, much, sizeof much);
    REFUSED(tare_sandbox_run(sandbox, &command, &output));
    REFUSED(tare_file_write(sandbox, "/tmp/more", much, sizeof much, 0600));
    REFUSED(tare_file_get_tar(sandbox, "/tmp", fd, NULL));
    snprintf(local, sizeof local, "%s/got", here);
    REFUSED(tare_file_get(sandbox, "/tmp/much", local, NULL));
    CHECK(access(local, F_OK));
    OK(tare_sandbox_close(taken));
    OK(tare_pool_close(pool));
    OK(tare_sandbox_close(sandbox));
    close(fd);
}

static void uses_images(void) {
    const char *from = getenv("IMAGE");
    char dir[PATH_MAX + 16];
    tare_image *image;
    CHECK(from);
    snprintf(dir, sizeof dir, "%s/unpacked", here);
    limit();
    REFUSED(tare_store_import(store, from, NULL, &image));
    REFUSED(tare_unpack(store, from, dir, NULL, NULL));
}

static void changes_the_index(void) {
    const char *from = getenv("IMAGE");
    tare_image *image;
    CHECK(from);
    OK(tare_store_import(store, from, NULL, &image));
    char *digest = strdup(tare_image_digest(image));
    tare_image_free(image);
    limit();
    if (most == 0) {
        REFUSED(tare_store_tag(store, digest, "name"));
        REFUSED(tare_store_remove(store, digest, NULL));
    }
    /* No object is lost. */
    OK(tare_store_image(store, digest, NULL, &image));
    tare_image_free(image);
    free(digest);
}

static int failed;

static void host(const char *name, void (*run)(void)) {
    printf("below %lu bytes, ", (unsigned long)most);
    failed |= in_child(name, run);
}

int main(int argc, char **argv) {
    static const rlim_t limits[] = {0, 1024};
    read_arguments(argc, argv);
    snprintf(here, sizeof here, "%s/..", root_path);
    tare_store *made;
    OK(tare_store_open(store_path, &made));
    tare_store_free(made);
    for (size_t n = 0; n < LENGTH(limits); n++) {
        most = limits[n];
        host("opens a new store", opens_a_new_store);
        host("opens a sandbox", opens_a_sandbox);
        host("uses a sandbox", uses_a_sandbox);
        host("uses images", uses_images);
    }
    for (size_t n = 0; n < LENGTH(limits); n++) {
        most = limits[n];
        host("changes the index", changes_the_index);
    }
    CHECK(!failed);
    return done("sizes");
}
