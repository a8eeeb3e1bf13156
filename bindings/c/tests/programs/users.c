/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * users STORE ROOT: files with the rights of a user of the sandbox, by every
 * function on files.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char local[PATH_MAX + 16];
static tare_sandbox *sandbox, *alice;

static void belongs_to(const char *path, uint32_t uid, uint32_t gid) {
    tare_stat stat = TARE_STAT_INIT;
    OK(tare_file_stat(sandbox, path, TARE_FILE_NO_FOLLOW, &stat));
    if (stat.uid != uid || stat.gid != gid) {
        fprintf(stderr, "%s belongs to %u:%u\n", path, stat.uid, stat.gid);
        exit(1);
    }
}

static void write_text(const char *path, const char *text, uint32_t mode) {
    OK(tare_file_write(sandbox, path, text, strlen(text), mode));
}

static void may_not(void) {
    tare_bytes *bytes;
    tare_dir *dir;
    tare_stat stat = TARE_STAT_INIT;
    int fd;
    OK(tare_file_mkdir(sandbox, "/d", 0755, 0));
    OK(tare_file_mkdir(sandbox, "/d/shut", 0700, 0));
    write_text("/d/root", "root", 0600);
    write_text("/d/all", "all", 0644);
    write_text("/d/shut/in", "in", 0644);
    write_text("/tmp/roots", "x", 0644);
    fails(EACCES, tare_file_read(alice, "/d/root", 0, &bytes));
    fails(EACCES, tare_file_open(alice, "/d/root", O_RDONLY, 0, &fd));
    fails(EACCES, tare_file_stat(alice, "/d/shut/in", 0, &stat));
    fails(EACCES, tare_dir_open(alice, "/d/shut", &dir));
    fails(EACCES, tare_file_write(alice, "/d/new", "x", 1, 0644));
    fails(EACCES, tare_file_mkdir(alice, "/d/new", 0755, 0));
    fails(EACCES, tare_file_symlink(alice, "x", "/d/new"));
    fails(EACCES, tare_file_get(alice, "/d/root", local, NULL));
    fails(EPERM, tare_file_remove(alice, "/tmp/roots", 0));
    fails(EPERM, tare_file_rename(alice, "/tmp/roots", "/tmp/other"));
    fails(EPERM, tare_file_chmod(alice, "/d/all", 0666));
    fails(EPERM, tare_file_chown(alice, "/d/all", 1000, 1000));
    /* By the sandbox's own handle all is as ever. */
    OK(tare_file_read(sandbox, "/d/root", 0, &bytes));
    tare_bytes_free(bytes);
}

static void owns(void) {
    uint32_t uid = 0, gid = 0;
    int fd = memfd_create("archive", MFD_CLOEXEC);
    OK(tare_file_mkdir(alice, "/tmp/a/b", 0750, TARE_FILE_PARENTS));
    OK(tare_file_write(alice, "/tmp/a/b/file", "mine", 4, 0640));
    OK(tare_file_symlink(alice, "file", "/tmp/a/b/link"));
    OK(tare_file_link(alice, "/tmp/a/b/file", "/tmp/a/second"));
    OK(tare_file_chmod(alice, "/tmp/a/b/file", 0600));
    belongs_to("/tmp/a", 1000, 100);
    belongs_to("/tmp/a/b", 1000, 100);
    belongs_to("/tmp/a/b/file", 1000, 100);
    belongs_to("/tmp/a/b/link", 1000, 100);
    OK(tare_file_get(alice, "/tmp/a", local, NULL));
    OK(tare_file_put(alice, local, "/tmp/again", NULL));
    belongs_to("/tmp/again/b/file", 1000, 100);
    CHECK(fd >= 0);
    OK(tare_file_get_tar(alice, "/tmp/a", fd, NULL));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    close(fd);
    OK(tare_file_remove(alice, "/tmp/a", TARE_FILE_TREE));
    OK(tare_sandbox_user_ids(sandbox, "alice:staff", &uid, &gid));
    CHECK(uid == 1000 && gid == 50);
    OK(tare_file_chown(sandbox, "/d/root", uid, gid));
    belongs_to("/d/root", 1000, 50);
}

/* A handle of a user serves files alone, and holds no sandbox. */
static void handles(void) {
    tare_sandbox *none, *again = NULL;
    tare_bytes *bytes;
    tare_output *output;
    uint32_t uid, gid;
    const char *argv[] = {"true", NULL};
    tare_command command = command_of(argv);
    FAILS(TARE_KIND_INVALID, tare_sandbox_as_user(sandbox, NULL, &none));
    FAILS(TARE_KIND_INVALID, tare_sandbox_as_user(NULL, "alice", &none));
    FAILS(TARE_KIND_INVALID, tare_sandbox_as_user(alice, "alice", &none));
    FAILS(TARE_KIND_INVALID, tare_sandbox_run(alice, &command, &output));
    FAILS(TARE_KIND_INVALID, tare_sandbox_reset(alice));
    FAILS(TARE_KIND_INVALID, tare_sandbox_close(alice));
    FAILS(TARE_KIND_NOT_FOUND, tare_sandbox_user_ids(sandbox, "nosuch", &uid, &gid));
    OK(tare_sandbox_as_user(sandbox, "nosuch", &none));
    FAILS(TARE_KIND_NOT_FOUND, tare_file_read(none, "/etc/passwd", 0, &bytes));
    tare_sandbox_free(none);
    FAILS(TARE_KIND_INVALID, tare_file_read(none, "/etc/passwd", 0, &bytes));
    tare_sandbox_free(none);
    OK(tare_sandbox_as_user(sandbox, "0", &again));
    OK(tare_sandbox_close(sandbox));
    FAILS(TARE_KIND_INVALID, tare_file_read(again, "/etc/passwd", 0, &bytes));
    tare_sandbox_free(again);
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    snprintf(local, sizeof local, "%s/../local", root_path);
    OK(tare_store_open(store_path, &store));
    sandbox = opened(spec);
    write_text("/etc/passwd", "root:x:0:0::/:/bin/sh\nalice:x:1000:100::/:/bin/sh\n", 0644);
    write_text("/etc/group", "root:x:0:\nusers:x:100:\nstaff:x:50:alice\n", 0644);
    OK(tare_sandbox_as_user(sandbox, "alice", &alice));
    char *ids = said(sandbox, "wc -l </proc/self/uid_map; cat /proc/self/uid_map");
    unsigned long lines, inside, outside, count;
    CHECK(sscanf(ids, "%lu %lu %lu %lu", &lines, &inside, &outside, &count) == 4);
    free(ids);
    if (lines == 1 && count == 1) {
        tare_bytes *bytes;
        fails(EINVAL, tare_file_read(alice, "/etc/passwd", 0, &bytes));
    } else {
        may_not();
        owns();
    }
    handles();
    tare_sandbox_free(alice);
    tare_store_free(store);
    return done("users");
}
