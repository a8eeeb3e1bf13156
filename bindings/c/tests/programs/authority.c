/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * authority STORE ROOT: hosts that give up or change privileges between two
 * sandboxes. The second is made with the calling thread's present privileges,
 * or refused; never with the earlier ones.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* A user and a group without any files. */
enum { OTHER = 12345 };

/* ---- facts of a sandbox ---- */

/* A line of a file of /proc, behind its key. */
static void line_of(const char *path, const char *key, char *into, size_t size) {
    char line[4096];
    FILE *from = fopen(path, "re");
    if (!from)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    CHECK(from);
    into[0] = 0;
    while (fgets(line, sizeof line, from))
        if (!strncmp(line, key, strlen(key)))
            snprintf(into, size, "%s", line + strlen(key));
    fclose(from);
    CHECK(into[0]);
    into[strcspn(into, "\n")] = 0;
}

/* A line of the status of a sandbox's helper, as this process sees the file. */
static void helper_status(const tare_sandbox *sandbox, const char *key, char *into, size_t size) {
    char path[64], number[64];
    int pidfd;
    OK(tare_sandbox_pidfd(sandbox, &pidfd));
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    line_of(path, "Pid:\t", number, sizeof number);
    snprintf(path, sizeof path, "/proc/%d/status", atoi(number));
    line_of(path, "PPid:\t", number, sizeof number);
    snprintf(path, sizeof path, "/proc/%d/status", atoi(number));
    line_of(path, key, into, size);
}

static void helper_is(const char *what, const tare_sandbox *sandbox, const char *key, const char *expected) {
    char seen[4096];
    helper_status(sandbox, key, seen, sizeof seen);
    if (strcmp(seen, expected)) {
        fprintf(stderr, "%s: the helper has %s%s, not %s\n", what, key, seen, expected);
        exit(1);
    }
}

/* Inside of a sandbox, this line prints this. */
static void inside_is(const char *what, const tare_sandbox *sandbox, const char *line, const char *expected) {
    fprintf(stderr, "%s\n", what);
    says(sandbox, line, expected);
}

/* A map of a single line in the kernel's form. */
static const char *map_of(unsigned outside, unsigned count) {
    static _Thread_local char map[64];
    snprintf(map, sizeof map, "%10u %10u %10u\n", 0, outside, count);
    return map;
}

/* A sandbox, opened now, has this map of users. */
static void map_is(const char *what, unsigned outside, unsigned count) {
    tare_sandbox *sandbox = opened(spec);
    inside_is(what, sandbox, "cat /proc/self/uid_map", map_of(outside, count));
    OK(tare_sandbox_close(sandbox));
}

static void machines_root(const char *what) { map_is(what, 0, UINT_MAX); }

/* Opens enough sandboxes that the next is prestarted. */
static void have_one_ahead(void) {
    for (int n = 0; n < 4; n++)
        OK(tare_sandbox_close(opened(spec)));
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* Enters a new user namespace, in which the caller's only id is 0. */
static void enter_user_namespace(void) {
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    CHECK(!unshare(CLONE_NEWUSER));
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
    write_file("/proc/self/gid_map", map);
}

static void namespace_of(const char *kind, char *into, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/thread-self/ns/%s", kind);
    ssize_t n = readlink(path, into, size - 2);
    CHECK(n > 0);
    into[n] = '\n';
    into[n + 1] = 0;
}

/* ---- hosts of root ---- */

static void become(uid_t user) {
    CHECK(!setgroups(0, NULL) && !setresgid(user, user, user) && !setresuid(user, user, user));
}

static void set_ids(void) {
    tare_pool *pool;
    tare_sandbox *before = opened(spec), *taken;
    machines_root("before");
    OK(tare_pool_open(store, NULL, spec, strlen(spec), 2, 2, &pool));
    have_one_ahead();
    become(OTHER);
    tare_sandbox *after = opened(spec);
    inside_is("setresuid", after, "cat /proc/self/uid_map", map_of(OTHER, 1));
    helper_is("setresuid", after, "Uid:\t", "12345\t12345\t12345\t12345");
    helper_is("setresuid", after, "Gid:\t", "12345\t12345\t12345\t12345");
    OK(tare_pool_take(pool, &taken));
    inside_is("a pool", taken, "cat /proc/self/uid_map", map_of(OTHER, 1));
    OK(tare_sandbox_reset(after));
    inside_is("reset", after, "cat /proc/self/uid_map", map_of(OTHER, 1));
    /* An earlier sandbox is unchanged and works; its reset is an open. */
    inside_is("before", before, "cat /proc/self/uid_map", map_of(0, UINT_MAX));
    OK(tare_sandbox_reset(before));
    inside_is("reset", before, "cat /proc/self/uid_map", map_of(OTHER, 1));
    OK(tare_sandbox_close(taken));
    OK(tare_pool_close(pool));
    OK(tare_sandbox_close(after));
    OK(tare_sandbox_close(before));
}

static void effective_ids(void) {
    machines_root("before");
    CHECK(!setegid(OTHER) && !seteuid(OTHER));
    tare_sandbox *after = opened(spec);
    inside_is("seteuid", after, "cat /proc/self/uid_map", map_of(OTHER, 1));
    helper_is("seteuid", after, "Uid:\t", "12345\t12345\t12345\t12345");
    OK(tare_sandbox_close(after));
    CHECK(!seteuid(0) && !setegid(0));
    machines_root("seteuid back");
}

static void *in_a_thread(void *unused) {
    (void)unused;
    /* A change of this thread alone, unknown to the C library. */
    CHECK(!syscall(SYS_setresgid, OTHER, OTHER, OTHER) && !syscall(SYS_setresuid, OTHER, OTHER, OTHER));
    for (int n = 0; n < 3; n++)
        map_is("a thread", OTHER, 1);
    return NULL;
}

static void one_thread(void) {
    pthread_t thread;
    have_one_ahead();
    CHECK(!pthread_create(&thread, NULL, in_a_thread, NULL));
    for (int n = 0; n < 3; n++)
        machines_root("the other thread");
    CHECK(!pthread_join(thread, NULL));
    machines_root("the other thread");
}

/* Gives capabilities up, all or a single one. */
static void drop(int one) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    CHECK(!syscall(SYS_capget, &header, sets));
    for (int half = 0; half < 2; half++) {
        uint32_t gone = one < 0 ? UINT32_MAX : one / 32 == half ? (uint32_t)1 << one % 32 : 0;
        sets[half].effective &= ~gone;
        sets[half].permitted &= ~gone;
        sets[half].inheritable &= ~gone;
    }
    CHECK(!syscall(SYS_capset, &header, sets));
}

static void one_capability(void) {
    char privileged[sizeof spec + 64], before[64], after[64];
    snprintf(privileged, sizeof privileged, "{\"security\": {\"profile\": \"privileged\"}, %s", spec + 1);
    tare_sandbox *sandbox = opened(privileged);
    helper_status(sandbox, "CapPrm:\t", before, sizeof before);
    OK(tare_sandbox_close(sandbox));
    have_one_ahead();
    drop(CAP_SYS_BOOT);
    sandbox = opened(privileged);
    helper_status(sandbox, "CapPrm:\t", after, sizeof after);
    CHECK(strtoull(after, NULL, 16) == (strtoull(before, NULL, 16) & ~(1ull << CAP_SYS_BOOT)));
    char *inside = said(sandbox, "while read k v; do [ $k != CapPrm: ] || echo $v; done </proc/self/status");
    CHECK(!(strtoull(inside, NULL, 16) & 1ull << CAP_SYS_BOOT));
    free(inside);
    OK(tare_sandbox_close(sandbox));
}

static void every_capability(void) {
    map_is("before", 0, is_machine_root() ? UINT_MAX : 1);
    have_one_ahead();
    drop(-1);
    tare_sandbox *after = NULL;
    tare_error *error = tare_sandbox_open(store, spec, strlen(spec), &after);
    if (error) {
        /* Since Linux 5.12, user 0 without CAP_SETFCAP may not map itself. */
        CHECK(tare_error_kind(error) == TARE_KIND_PERMISSION && tare_error_cure(error));
        tare_error_free(error);
        return;
    }
    inside_is("capset", after, "cat /proc/self/uid_map", map_of(0, 1));
    OK(tare_sandbox_close(after));
}

static void user_namespace(void) {
    machines_root("before");
    have_one_ahead();
    enter_user_namespace();
    map_is("a user namespace", 0, 1);
}

static void mount_namespace(void) {
    char here[PATH_MAX], file[PATH_MAX + 8], with[PATH_MAX * 3];
    snprintf(here, sizeof here, "%s/tmp", root_path);
    snprintf(file, sizeof file, "%s/file", here);
    snprintf(with, sizeof with, "{\"mounts\": [{\"type\": \"bind\", \"source\": \"%s\", \"target\": \"/mnt\"}], %s", here, spec + 1);
    tare_sandbox *sandbox = opened(with);
    inside_is("before", sandbox, "echo /mnt/*", "/mnt/*\n");
    OK(tare_sandbox_close(sandbox));
    CHECK(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    CHECK(!mount("x", here, "tmpfs", 0, NULL));
    close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    sandbox = opened(with);
    inside_is("a mount namespace", sandbox, "echo /mnt/*", "/mnt/file\n");
    OK(tare_sandbox_close(sandbox));
}

static void shared_namespaces(void) {
    char with[8192], now[64];
    snprintf(with, sizeof with, "{\"network\": \"host\", \"namespaces\": {\"uts\": false, \"ipc\": false}, %s", spec + 1);
    OK(tare_sandbox_close(opened(with)));
    CHECK(!unshare(CLONE_NEWNET));
    tare_sandbox *sandbox = opened(with);
    namespace_of("net", now, sizeof now);
    inside_is("a network namespace", sandbox, "busybox readlink /proc/self/ns/net", now);
    OK(tare_sandbox_close(sandbox));
    CHECK(!unshare(CLONE_NEWUTS | CLONE_NEWIPC));
    sandbox = opened(with);
    namespace_of("uts", now, sizeof now);
    inside_is("a uts namespace", sandbox, "busybox readlink /proc/self/ns/uts", now);
    namespace_of("ipc", now, sizeof now);
    inside_is("an ipc namespace", sandbox, "busybox readlink /proc/self/ns/ipc", now);
    OK(tare_sandbox_close(sandbox));
}

static void groups(void) {
    static const gid_t some[] = {OTHER, OTHER + 1};
    machines_root("before");
    CHECK(!setgroups(2, some));
    tare_sandbox *sandbox = opened(spec);
    helper_is("setgroups", sandbox, "Groups:\t", "12345 12346 ");
    OK(tare_sandbox_close(sandbox));
    CHECK(!setgroups(0, NULL) && !setegid(OTHER));
    sandbox = opened(spec);
    /* Executing a program saves the effective id. */
    helper_is("setegid", sandbox, "Gid:\t", "0\t12345\t12345\t12345");
    OK(tare_sandbox_close(sandbox));
}

/* ---- hosts of ordinary users ---- */

static void own_user_namespace(void) {
    tare_pool *pool;
    tare_sandbox *before = opened(spec), *after, *taken;
    OK(tare_pool_open(store, NULL, spec, strlen(spec), 2, 2, &pool));
    char *map = said(before, "cat /proc/self/uid_map");
    CHECK(strstr(map, map_of(geteuid(), 1)) == map);
    free(map);
    have_one_ahead();
    enter_user_namespace();
    after = opened(spec);
    inside_is("a user namespace", after, "cat /proc/self/uid_map", map_of(0, 1));
    OK(tare_pool_take(pool, &taken));
    inside_is("a pool", taken, "cat /proc/self/uid_map", map_of(0, 1));
    OK(tare_sandbox_close(taken));
    OK(tare_sandbox_close(after));
    OK(tare_sandbox_close(before));
    OK(tare_pool_close(pool));
}

static int failed;

static void host(const char *name, void (*run)(void)) { failed |= in_child(name, run); }

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    if (is_machine_root()) {
        /* Any user may come as far as the image. */
        char above[PATH_MAX];
        snprintf(above, sizeof above, "%s/..", root_path);
        CHECK(!chmod(above, 0755) && !chmod(root_path, 0755));
        host("set ids", set_ids);
        host("effective ids", effective_ids);
        host("one thread", one_thread);
        host("one capability", one_capability);
        host("every capability", every_capability);
        host("a user namespace", user_namespace);
        host("a mount namespace", mount_namespace);
        host("shared namespaces", shared_namespaces);
        host("groups", groups);
    } else {
        host("a user namespace", own_user_namespace);
        /* Changes open to uid 0 of a user namespace with one id. */
        if (geteuid() == 0) {
            host("every capability", every_capability);
            host("a mount namespace", mount_namespace);
            host("shared namespaces", shared_namespaces);
        }
    }
    CHECK(!failed);
    return done("authority");
}
