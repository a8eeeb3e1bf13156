/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * hosts STORE ROOT: sandboxes in difficult hosts. They work in each, and change
 * no state of the host: descriptors, signals, umask, directory, environment,
 * limits, ids, namespaces, children, mounts.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

extern char **environ;
/* The stack that a Go or Java runtime may give to a thread of C. */
enum { SMALL_STACK = 64 << 10 };

/* ---- protected state ---- */

struct state {
    char *text;
    size_t len;
};

static void add_link(FILE *to, const char *dir, const char *name) {
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n >= 0)
        fprintf(to, "%s -> %.*s\n", path, (int)n, target);
}

/* Every entry of a directory, with its target; `mine`, the directory's own
   descriptor, left out. */
static void add_links(FILE *to, const char *dir) {
    DIR *open = opendir(dir);
    CHECK(open);
    char mine[16];
    snprintf(mine, sizeof mine, "%d", dirfd(open));
    for (struct dirent *entry; (entry = readdir(open));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, mine))
            add_link(to, dir, entry->d_name);
    closedir(open);
}

/* Lines of a file; of /proc/self/status those that are no figures of memory and
   time. */
static void add_file(FILE *to, const char *path, int of_status) {
    char line[4096];
    FILE *from = fopen(path, "re");
    CHECK(from);
    while (fgets(line, sizeof line, from))
        if (!of_status || !strncmp(line, "Uid", 3) || !strncmp(line, "Gid", 3) || !strncmp(line, "Groups", 6) ||
            (!strncmp(line, "Sig", 3) && line[3] != 'Q') || !strncmp(line, "Cap", 3) || !strncmp(line, "NoNew", 5) ||
            !strncmp(line, "Seccomp", 7) || !strncmp(line, "Umask", 5) || !strncmp(line, "Threads", 7))
            fputs(line, to);
    fclose(from);
}

/* Waits for joined threads, which the kernel counts until it is done with them.
   */
static void await_the_last_thread(void) {
    struct stat tasks;
    for (int n = 0; n < 20000; n++) {
        CHECK(!stat("/proc/self/task", &tasks));
        /* The directory, its parent, and an entry for each thread. */
        if (tasks.st_nlink == 3)
            return;
        usleep(500);
    }
    CHECK(!"one thread is left");
}

static struct state look(void) {
    struct state state;
    await_the_last_thread();
    FILE *to = open_memstream(&state.text, &state.len);
    CHECK(to);
    add_links(to, "/proc/self/fd");
    add_links(to, "/proc/self/ns");
    add_link(to, "/proc/self", "cwd");
    add_file(to, "/proc/self/status", 1);
    add_file(to, "/proc/self/mountinfo", 0);
    char children[64];
    snprintf(children, sizeof children, "/proc/self/task/%d/children", (int)getpid());
    add_file(to, children, 0);
    for (char **pair = environ; *pair; pair++)
        fprintf(to, "%s\n", *pair);
    for (int n = 0; n < RLIM_NLIMITS; n++) {
        struct rlimit limit;
        getrlimit((__rlimit_resource_t)n, &limit);
        fprintf(to, "limit %d %lu %lu\n", n, (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    }
    for (int n = 1; n < NSIG; n++) {
        struct sigaction action;
        if (sigaction(n, NULL, &action) == 0)
            fprintf(to, "signal %d %p\n", n, (void *)(uintptr_t)action.sa_handler);
    }
    int reaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    fprintf(to, "reaper %d dumpable %d death %ld\n", reaper, prctl(PR_GET_DUMPABLE),
            syscall(SYS_keyctl, 0, -3, 0)); /* KEYCTL_GET_KEYRING_ID, the session's */
    fclose(to);
    return state;
}

static void same(const char *where, struct state before) {
    struct state after = look();
    if (strcmp(before.text, after.text)) {
        size_t at = 0;
        while (before.text[at] && before.text[at] == after.text[at])
            at++;
        at -= at < 60 ? at : 60;
        fprintf(stderr, "%s changed the host.\n--- before\n%.300s\n--- after\n%.300s\n", where, before.text + at,
                after.text + at);
        exit(1);
    }
    free(before.text);
    free(after.text);
}

/* ---- the work ---- */

/* From no store to a sandbox. */
static tare_sandbox *begin(void) {
    OK(tare_store_open(store_path, &store));
    return opened(spec);
}

static void end(tare_sandbox *sandbox) {
    OK(tare_sandbox_close(sandbox));
    tare_store_free(store);
}

/* The whole way from no store to none, with a command that must print this. */
static void job(const char *line, const char *expected) {
    tare_sandbox *sandbox = begin();
    says(sandbox, line, expected);
    end(sandbox);
}

static void hello(void) { job("echo hello", "hello\n"); }

/* ---- the hosts ---- */

static atomic_int over;

static void *allocates(void *unused) {
    (void)unused;
    unsigned seed = 1;
    while (!atomic_load(&over)) {
        char *some = malloc((size_t)(rand_r(&seed) % 100000) + 1);
        some[0] = 1;
        free(some);
    }
    return NULL;
}

static void *forks(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(7);
        int status;
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
        usleep(1000);
    }
    return NULL;
}

static void threads_that_allocate_and_fork(void) {
    pthread_t threads[32];
    atomic_store(&over, 0);
    for (int i = 0; i < 32; i++)
        CHECK(!pthread_create(&threads[i], NULL, i % 2 ? forks : allocates, NULL));
    for (int i = 0; i < 5; i++)
        hello();
    atomic_store(&over, 1);
    for (int i = 0; i < 32; i++)
        pthread_join(threads[i], NULL);
}

static void children_ignored(void) {
    signal(SIGCHLD, SIG_IGN);
    hello();
    CHECK(signal(SIGCHLD, SIG_DFL) == SIG_IGN);
}

static atomic_int wanted, got;

static void *waits_for_all(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        pid_t pid = waitpid(-1, NULL, __WALL);
        if (pid < 0) {
            CHECK(errno == ECHILD);
            usleep(100);
        } else if (pid == atomic_load(&wanted)) {
            atomic_store(&got, pid);
        }
    }
    return NULL;
}

/* A wait may get the first process of each store's helper; the library does
   without. */
static void a_thread_waits_for_all_children(void) {
    pthread_t waiter;
    atomic_store(&over, 0);
    CHECK(!pthread_create(&waiter, NULL, waits_for_all, NULL));
    for (int i = 0; i < 5; i++) {
        hello();
        int go[2];
        CHECK(!pipe2(go, O_CLOEXEC));
        pid_t own = fork();
        if (own == 0)
            _exit(read(go[0], go, 1) == 1 ? 0 : 1);
        atomic_store(&wanted, own);
        CHECK(own > 0 && write(go[1], "", 1) == 1);
        /* No other thread has reaped the child. */
        while (atomic_load(&got) != own)
            usleep(100);
        close(go[0]);
        close(go[1]);
    }
    atomic_store(&over, 1);
    pthread_join(waiter, NULL);
}

static void much_memory(void) {
    size_t size = (size_t)1 << 30;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = (char)(at >> 12);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    hello();
    getrusage(RUSAGE_SELF, &after);
    /* A copy of this process, even with shared pages, would cause a fault at
       the next write. */
    for (size_t at = 0; at < size; at += 4096)
        memory[at]++;
    struct rusage written;
    getrusage(RUSAGE_SELF, &written);
    CHECK(written.ru_minflt - after.ru_minflt < 1000);
    CHECK(after.ru_minflt - before.ru_minflt < 10000);
    munmap(memory, size);
}

static void descriptors_that_are_inherited(void) {
    enum { MANY = 1000 };
    static int fds[MANY];
    struct rlimit limit, more;
    getrlimit(RLIMIT_NOFILE, &limit);
    more = limit;
    if (more.rlim_cur < 2 * MANY)
        more.rlim_cur = more.rlim_max < 4 * MANY ? more.rlim_max : 4 * MANY;
    CHECK(!setrlimit(RLIMIT_NOFILE, &more));
    for (int i = 0; i < MANY; i++)
        CHECK((fds[i] = open("/dev/zero", O_RDWR)) >= 0);
    job("for fd in /proc/self/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true", "0\n1\n2\n");
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
}

static void odd_umasks(void) {
    mode_t masks[] = {0777, 0, 0177};
    for (int i = 0; i < 3; i++) {
        mode_t old = umask(masks[i]);
        tare_stat stat = TARE_STAT_INIT;
        tare_sandbox *sandbox = begin();
        free(said(sandbox, "echo x >/tmp/file; umask >/tmp/mask; cat /tmp/file"));
        OK(tare_file_stat(sandbox, "/tmp/file", 0, &stat));
        CHECK((stat.mode & 07777) == 0644);
        OK(tare_file_write(sandbox, "/tmp/written", "x", 1, 0640));
        OK(tare_file_stat(sandbox, "/tmp/written", 0, &stat));
        CHECK((stat.mode & 07777) == 0640);
        end(sandbox);
        CHECK(umask(old) == masks[i]);
    }
}

static void directory_that_is_gone(void) {
    char gone[] = "/tmp/tare-gone.XXXXXX", old[PATH_MAX];
    CHECK(getcwd(old, sizeof old) && mkdtemp(gone) && !chdir(gone) && !rmdir(gone));
    hello();
    CHECK(!getcwd(gone, sizeof gone) && errno == ENOENT);
    CHECK(!chdir(old));
}

static void signals_blocked_and_ignored(void) {
    static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGTERM, SIGUSR1};
    sigset_t all, old, now;
    void (*before[LENGTH(ignored)])(int);
    sigfillset(&all);
    /* A script's background job has some ignored already. */
    for (size_t i = 0; i < LENGTH(ignored); i++)
        CHECK((before[i] = signal(ignored[i], SIG_IGN)) != SIG_ERR);
    CHECK(!pthread_sigmask(SIG_SETMASK, &all, &old));
    tare_sandbox *sandbox = begin();
    /* Not by a shell, which changes them itself. */
    const char *argv[] = {"cat", "/proc/self/status", NULL};
    tare_command command = command_of(argv);
    char *status = output_of(sandbox, &command, 0);
    /* As exec(3) does, except SIGPIPE, which belongs to the runtime. */
    CHECK(strstr(status, "SigBlk:\t0000000000000000\n") && strstr(status, "SigIgn:\t0000000000004207\n"));
    free(status);
    end(sandbox);
    CHECK(!pthread_sigmask(SIG_SETMASK, &old, &now));
    CHECK(sigismember(&now, SIGTERM) && sigismember(&now, SIGCHLD) && sigismember(&now, SIGUSR1));
    for (size_t i = 0; i < LENGTH(ignored); i++)
        CHECK(signal(ignored[i], before[i]) == SIG_IGN);
}

static void *in_a_thread(void *sandbox_or_null) {
    if (!sandbox_or_null) {
        hello();
        return NULL;
    }
    *(tare_sandbox **)sandbox_or_null = begin();
    tare_store_free(store);
    return NULL;
}

static void small_stack(void) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    CHECK(!pthread_attr_setstacksize(&small, SMALL_STACK));
    CHECK(!pthread_create(&thread, &small, in_a_thread, NULL));
    pthread_join(thread, NULL);
    pthread_attr_destroy(&small);
}

static void thread_that_ends(void) {
    tare_sandbox *sandbox = NULL;
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, in_a_thread, &sandbox));
    pthread_join(thread, NULL);
    usleep(50000);
    says(sandbox, "echo alive", "alive\n");
    OK(tare_sandbox_close(sandbox));
}

static void standard_streams_closed(void) {
    int kept[3];
    for (int fd = 0; fd < 3; fd++)
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    tare_error *error = tare_store_open(store_path, &store);
    tare_sandbox *sandbox = NULL;
    char *text = NULL;
    if (!error)
        error = tare_sandbox_open(store, spec, strlen(spec), &sandbox);
    if (!error) {
        text = said(sandbox, "cat; echo hello; echo >&2");
        error = tare_sandbox_close(sandbox);
        tare_store_free(store);
    }
    for (int fd = 0; fd < 3; fd++)
        if (kept[fd] >= 0) {
            CHECK(dup2(kept[fd], fd) == fd);
            close(kept[fd]);
        }
    OK(error);
    CHECK(!strcmp(text, "hello\n"));
    free(text);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } hosts[] = {
        {"32 threads that allocate and fork", threads_that_allocate_and_fork},
        {"SIGCHLD ignored", children_ignored},
        {"a thread in waitpid(-1)", a_thread_waits_for_all_children},
        {"1 GiB of memory", much_memory},
        {"1000 descriptors to inherit", descriptors_that_are_inherited},
        {"odd umasks", odd_umasks},
        {"a directory that is gone", directory_that_is_gone},
        {"signals blocked and ignored", signals_blocked_and_ignored},
        {"a small stack", small_stack},
        {"a thread that ends", thread_that_ends},
        {"standard streams closed", standard_streams_closed},
    };
    read_arguments(argc, argv);
    /* Objects made once: here, in the library, and by libc with the first
       thread. */
    hello();
    small_stack();
    for (size_t i = 0; i < LENGTH(hosts); i++) {
        struct state before = look();
        hosts[i].run();
        CHECK(tare_handle_count() == 0);
        same(hosts[i].name, before);
        fprintf(stderr, "%s\n", hosts[i].name);
    }
    return done("hosts");
}
