/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * stacks STORE ROOT: the stack that each call needs. The stack is painted
 * before and examined afterwards. ROOT.tar.zst is the root as an archive; the
 * image to import is in $IMAGE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

/* The stack that suffices for a thread, according to tare.h. */
enum { ENOUGH = 128 << 10, STACK = 4 << 20, LEVELS = 250 };

static char here[PATH_MAX];
static tare_sandbox *sandbox;

static void opens_a_store(void) { OK(tare_store_open(store_path, &store)); }

static void asks_the_doctor(void) {
    tare_bytes *report;
    OK(tare_doctor(store_path, &report));
    tare_bytes_free(report);
}

static void imports(void) {
    tare_image *image;
    tare_bytes *list;
    tare_import_options options = TARE_IMPORT_OPTIONS_INIT;
    const char *names[] = {"box", NULL};
    options.names = names;
    OK(tare_store_import(store, getenv("IMAGE"), &options, &image));
    OK(tare_image_inspect(image, &list));
    tare_bytes_free(list);
    tare_image_free(image);
}

static void keeps_the_store(void) {
    tare_bytes *list;
    uint64_t removed;
    OK(tare_store_list(store, &list));
    tare_bytes_free(list);
    OK(tare_store_check(store, &list));
    tare_bytes_free(list);
    OK(tare_store_repair(store, &removed));
    OK(tare_store_tag(store, "box", "other"));
    OK(tare_store_remove(store, "other", NULL));
    OK(tare_store_gc(store, NULL));
    OK(tare_store_recover(store, NULL));
}

/* A layer that removes the directory d. */
static int whiteout(void) {
    static unsigned char archive[1536];
    unsigned sum = 0;
    int fd = memfd_create("whiteout", MFD_CLOEXEC);
    memcpy(archive, ".wh.d", 5);
    memcpy(archive + 100, "0000644\0000000000\0000000000\00000000000000\00000000000000\0        0", 57);
    memcpy(archive + 257, "ustar\00000", 8);
    for (int n = 0; n < 512; n++)
        sum += archive[n];
    snprintf((char *)archive + 148, 8, "%06o", sum);
    CHECK(fd >= 0 && write(fd, archive, sizeof archive) == sizeof archive && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static void applies(int fd, const char *dir) {
    tare_bytes *report;
    OK(tare_unpack_layer(fd, dir, 0, &report));
    tare_bytes_free(report);
    close(fd);
}

static void unpacks(void) {
    char dir[PATH_MAX + 16], archive[PATH_MAX + 16];
    snprintf(dir, sizeof dir, "%s/unpacked", here);
    OK(tare_unpack(store, "box", dir, NULL, NULL));
    snprintf(dir, sizeof dir, "%s/layer", here);
    CHECK(!mkdir(dir, 0755));
    snprintf(archive, sizeof archive, "%s.tar.zst", root_path);
    int fd = open(archive, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    applies(fd, dir);
}

/* As deep as a document may be, and deeper. */
static void reads_a_deep_spec(void) {
    static const int levels[] = {120, 100000};
    for (int n = 0; n < 2; n++) {
        size_t depth = (size_t)levels[n], len = 11 + 2 * depth;
        char *text = malloc(len + 1);
        CHECK(text);
        memcpy(text, "{\"image\": ", 10);
        memset(text + 10, '[', depth);
        memset(text + 10 + depth, ']', depth);
        text[len - 1] = '}';
        FAILS(TARE_KIND_INVALID, tare_spec_check(text, len, NULL));
        free(text);
    }
}

static void opens_a_sandbox(void) { sandbox = opened(spec); }

static void opens_a_view_of_the_host(void) {
    tare_sandbox *host;
    OK(tare_sandbox_open(store, NULL, 0, &host));
    OK(tare_sandbox_close(host));
}

static void runs(void) {
    tare_command command = shell("echo out; echo err >&2; exit 3");
    tare_output *output;
    tare_process *process;
    prints(sandbox, &command, 3, "out\n");
    OK(tare_sandbox_spawn(sandbox, &command, &process, NULL));
    OK(tare_process_output(process, &output));
    tare_output_free(output);
    tare_process_free(process);
}

static void changes_files(void) {
    tare_bytes *bytes;
    tare_dir *dir;
    tare_stat stat = TARE_STAT_INIT;
    const char *name;
    OK(tare_file_write(sandbox, "/tmp/file", "x", 1, 0644));
    OK(tare_file_read(sandbox, "/tmp/file", 0, &bytes));
    tare_bytes_free(bytes);
    OK(tare_dir_open(sandbox, "/bin", &dir));
    do
        OK(tare_dir_next(dir, &stat, &name));
    while (name);
    tare_dir_free(dir);
}

/* A tree of many levels, in and out. */
static void moves_trees(void) {
    char deep[2 * LEVELS + 8] = "/tmp/deep", local[PATH_MAX + 16];
    for (int n = 0; n < LEVELS; n++)
        strcat(deep, "/d");
    OK(tare_file_mkdir(sandbox, deep, 0755, TARE_FILE_PARENTS));
    snprintf(local, sizeof local, "%s/copy", here);
    OK(tare_file_get(sandbox, "/tmp/deep", local, NULL));
    OK(tare_file_put(sandbox, local, "/tmp/again", NULL));
    int fd = memfd_create("archive", MFD_CLOEXEC);
    CHECK(fd >= 0);
    OK(tare_file_get_tar(sandbox, "/tmp/deep", fd, NULL));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    OK(tare_file_mkdir(sandbox, "/tmp/third", 0755, 0));
    OK(tare_file_put_tar(sandbox, "/tmp/third", fd, NULL));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    snprintf(local, sizeof local, "%s/third", here);
    CHECK(!mkdir(local, 0755));
    applies(fd, local);
    applies(whiteout(), local);
    CHECK(!rmdir(local));
    OK(tare_file_remove(sandbox, "/tmp/deep", TARE_FILE_TREE));
}

/* A pool, whose sandboxes are opened ahead, and a reset. */
static void takes_from_a_pool(void) {
    tare_pool *pool;
    tare_sandbox *taken;
    OK(tare_pool_open(store, NULL, spec, strlen(spec), 1, 1, &pool));
    OK(tare_pool_take(pool, &taken));
    OK(tare_sandbox_reset(taken));
    OK(tare_sandbox_close(taken));
    OK(tare_pool_close(pool));
}

static void closes(void) {
    OK(tare_sandbox_close(sandbox));
    OK(tare_store_remove(store, "box", NULL));
    tare_store_free(store);
}

static void *runs_in_a_thread(void *work) {
    (*(void (**)(void))work)();
    return NULL;
}

/* Bytes of a thread's stack that some work used, with the C library's own part.
   */
static size_t used(void (*work)(void)) {
    pthread_attr_t attr;
    pthread_t thread;
    size_t at = 0;
    unsigned char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(stack != MAP_FAILED);
    memset(stack, 0x5a, STACK);
    CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, stack, STACK));
    CHECK(!pthread_create(&thread, &attr, runs_in_a_thread, &work));
    CHECK(!pthread_join(thread, NULL));
    pthread_attr_destroy(&attr);
    while (at < STACK && stack[at] == 0x5a)
        at++;
    munmap(stack, STACK);
    return STACK - at;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*work)(void);
    } works[] = {
        {"opens a store", opens_a_store},
        {"asks the doctor", asks_the_doctor},
        {"imports", imports},
        {"keeps the store", keeps_the_store},
        {"unpacks", unpacks},
        {"reads a deep spec", reads_a_deep_spec},
        {"opens a sandbox", opens_a_sandbox},
        {"opens a view of the host", opens_a_view_of_the_host},
        {"runs", runs},
        {"changes files", changes_files},
        {"moves trees", moves_trees},
        {"takes from a pool", takes_from_a_pool},
        {"closes", closes},
    };
    read_arguments(argc, argv);
    CHECK(getenv("IMAGE"));
    snprintf(here, sizeof here, "%s/..", root_path);
    int too_many = 0;
    for (size_t n = 0; n < LENGTH(works); n++) {
        size_t bytes = used(works[n].work);
        printf("%-26s %7zu bytes of stack\n", works[n].name, bytes);
        too_many += bytes > ENOUGH;
    }
    fflush(stdout);
    CHECK(!too_many);
    return done("stacks");
}
