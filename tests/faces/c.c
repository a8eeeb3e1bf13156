/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The cases through tare.h: c STORE. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <tare.h>

enum { ARGS = 32, PROCESSES = 8 };

/* Bytes, with a NUL behind them. */
struct text {
    char *data;
    size_t len;
};

/* The next command. Its texts live until the run. */
struct wanted {
    struct text texts[ARGS];
    int used;
    const char *argv[ARGS + 1];
    int args;
    const char *env[ARGS + 1];
    int envs;
    const char *caps[2][ARGS + 1]; /* added, dropped */
    int added, dropped;
    tare_rlimit rlimits[ARGS];
    tare_command command;
};

struct running {
    char name[32];
    tare_process *process;
    int input;
};

static tare_store *store;
static tare_sandbox *sandbox;
static tare_events *events;
static struct wanted wanted;
static struct running processes[PROCESSES];
/* The peak of the last command that ended. */
static uint64_t memory_peak;

static void fail(const char *why, const char *what) {
    fprintf(stderr, "%s: %s\n", why, what);
    exit(1);
}

static void *space(size_t size) {
    void *memory = malloc(size);
    if (!memory)
        fail("malloc", strerror(errno));
    return memory;
}

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static struct text unescape(const char *from) {
    struct text to = {space(strlen(from) + 1), 0};
    while (*from) {
        char c = *from++;
        if (c == '\\' && *from == 'x') {
            c = (char)(digit(from[1]) << 4 | digit(from[2]));
            from += 3;
        } else if (c == '\\') {
            c = *from++ == 'n' ? '\n' : '\\';
        }
        to.data[to.len++] = c;
    }
    to.data[to.len] = 0;
    return to;
}

static void say_bytes(const char *name, const char *data, size_t len) {
    printf("> %s ", name);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\n')
            printf("\\n");
        else if (c == '\\')
            printf("\\\\");
        else if (c >= 32 && c < 127)
            putchar(c);
        else
            printf("\\x%02x", c);
    }
    putchar('\n');
}

/* Returns whether a step succeeded; an error is printed and freed. */
static int went_well(tare_error *error) {
    if (!error)
        return 1;
    printf("> error %s %d %s\n", tare_error_kind_name(error), tare_error_errno(error), tare_error_step(error));
    tare_error_free(error);
    return 0;
}

/* Prints a word of a step that succeeded. */
static void done(tare_error *error, const char *word) {
    if (went_well(error))
        printf("> %s\n", word);
}

/* Prints whether a figure of the usage is a number, in a line of JSON. */
static void say_usage(const char *key) {
    tare_bytes *json = NULL;
    char wanted_key[64];
    if (!went_well(tare_sandbox_usage(sandbox, &json)))
        return;
    snprintf(wanted_key, sizeof wanted_key, "\"%s\":", key);
    size_t len = strlen(wanted_key);
    const char *data = (const char *)tare_bytes_data(json), *at = memmem(data, tare_bytes_len(json), wanted_key, len);
    if (!at)
        fail("no such figure", key);
    printf("> %s %scounted\n", key, at[len] == 'n' ? "not " : "");
    tare_bytes_free(json);
}

/* Counts running commands, -1 after an error: each has an id in the JSON. */
static int count_commands(void) {
    tare_bytes *json = NULL;
    if (!went_well(tare_sandbox_commands(sandbox, &json)))
        return -1;
    const char *at = (const char *)tare_bytes_data(json), *end = at + tare_bytes_len(json);
    int count = 0;
    while ((at = memmem(at, (size_t)(end - at), "\"id\":", 5))) {
        count++;
        at += 5;
    }
    tare_bytes_free(json);
    return count;
}

static void say_memory_peak(const char *mib) {
    const char *size = memory_peak >> 20 >= strtoull(mib, NULL, 10) ? "at least" : "below";
    if (memory_peak == TARE_UNKNOWN)
        puts("> memory_peak unknown");
    else
        printf("> memory_peak %s %s\n", size, mib);
}

/* Keys that lines of the log say were left out, each behind a blank. */
static char told[256];

static void note_left_out(void *data, uint32_t level, const char *line) {
    const char *key = strstr(line, ": left out ");
    (void)data;
    if (level == TARE_LOG_WARNING && key) {
        key += strlen(": left out ");
        size_t len = strlen(told);
        snprintf(told + len, sizeof told - len, " %.*s", (int)strcspn(key, ":"), key);
    }
}

static void say_told(void) {
    printf("> told%s\n", *told ? told : " nothing");
    *told = 0;
}

/* The keys of `left_out` in the one line of JSON. */
static void say_left_out(void) {
    tare_bytes *json = NULL;
    if (!went_well(tare_sandbox_effective(sandbox, &json)))
        return;
    const char *data = (const char *)tare_bytes_data(json), *end = data + tare_bytes_len(json);
    const char *at = memmem(data, tare_bytes_len(json), "\"left_out\":[", 12);
    if (!at)
        fail("no such key", "left_out");
    end = memchr(at, ']', (size_t)(end - at));
    printf("> left_out%s", at[12] == ']' ? " nothing" : "");
    while ((at = memmem(at, (size_t)(end - at), "\"key\":\"", 7))) {
        at += 7;
        printf(" %.*s", (int)strcspn(at, "\""), at);
    }
    putchar('\n');
    tare_bytes_free(json);
}

static void forget(void) {
    for (int i = 0; i < wanted.used; i++)
        free(wanted.texts[i].data);
    memset(&wanted, 0, sizeof wanted);
    wanted.command.size = sizeof wanted.command;
}

static struct text keep(struct text text) {
    if (wanted.used == ARGS)
        fail("too much", text.data);
    return wanted.texts[wanted.used++] = text;
}

/* A limit, or the part before a colon: a number or "unlimited". */
static uint64_t number(const char *text) { return *text == 'u' ? UINT64_MAX : strtoull(text, NULL, 10); }

/* NAME SOFT[:HARD] */
static void limit(const char *rest) {
    char *name = keep(unescape(rest)).data, *soft = strchr(name, ' '), *hard = strchr(name, ':');
    tare_rlimit *next = &wanted.rlimits[wanted.command.rlimits_len++];
    *soft++ = 0;
    next->name = name;
    next->soft = number(soft);
    next->hard = hard ? number(hard + 1) : next->soft;
}

/* Returns whether the line was about the next command. */
static int take(const char *word, const char *rest) {
    tare_command *command = &wanted.command;
    if (!strcmp(word, "sh")) {
        wanted.argv[0] = "sh";
        wanted.argv[1] = "-c";
        wanted.argv[2] = keep(unescape(rest)).data;
        wanted.args = 3;
    } else if (!strcmp(word, "arg")) {
        wanted.argv[wanted.args++] = keep(unescape(rest)).data;
    } else if (!strcmp(word, "env")) {
        wanted.env[wanted.envs++] = keep(unescape(rest)).data;
    } else if (!strcmp(word, "cwd")) {
        command->cwd = keep(unescape(rest)).data;
    } else if (!strcmp(word, "user")) {
        command->user = keep(unescape(rest)).data;
    } else if (!strcmp(word, "timeout")) {
        command->timeout_ns = (uint64_t)(atof(rest) * 1e9);
    } else if (!strcmp(word, "input") || !strcmp(word, "input_size")) {
        struct text input;
        if (word[5]) {
            input.len = strtoul(rest, NULL, 10);
            input.data = space(input.len);
            memset(input.data, 'x', input.len);
        } else {
            input = unescape(rest);
        }
        command->stdin_mode = TARE_STDIO_BYTES;
        command->stdin_data = keep(input).data;
        command->stdin_len = input.len;
    } else if (!strcmp(word, "rlimit")) {
        limit(rest);
    } else if (!strcmp(word, "cap_add")) {
        wanted.caps[0][wanted.added++] = keep(unescape(rest)).data;
    } else if (!strcmp(word, "cap_drop")) {
        wanted.caps[1][wanted.dropped++] = keep(unescape(rest)).data;
    } else if (!strcmp(word, "umask")) {
        command->flags |= TARE_COMMAND_UMASK;
        command->umask = (uint32_t)strtoul(rest, NULL, 8);
    } else if (!strcmp(word, "stdin")) {
        command->stdin_mode = TARE_STDIO_PIPE;
    } else if (!strcmp(word, "stderr")) {
        command->stderr_mode = TARE_STDIO_STDOUT;
    } else {
        return 0;
    }
    return 1;
}

static const tare_command *command(void) {
    wanted.command.argv = wanted.argv;
    wanted.command.env = wanted.envs ? wanted.env : NULL;
    wanted.command.rlimits = wanted.rlimits;
    wanted.command.cap_add = wanted.caps[0];
    wanted.command.cap_drop = wanted.dropped ? wanted.caps[1] : NULL;
    return &wanted.command;
}

static void say_stream(const char *name, const char *data, size_t len) {
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += (unsigned char)data[i];
    if (len > 200)
        printf("> %s %zu bytes, sum %llu\n", name, len, (unsigned long long)sum);
    else if (len)
        say_bytes(name, data, len);
}

static void say_output(tare_output *output) {
    tare_status status;
    size_t len;
    status.size = sizeof status;
    if (!went_well(tare_output_status(output, &status)))
        return;
    const char *reason = tare_reason_name(status.reason);
    if (status.reason == TARE_REASON_EXITED)
        printf("> %s %d\n", reason, status.exit_code);
    else if (status.reason == TARE_REASON_SIGNALED)
        printf("> %s %d\n", reason, status.signal);
    else if (status.exit_code != -1)
        printf("> %s with exit code %d\n", reason, status.exit_code);
    else
        printf("> %s\n", reason);
    memory_peak = status.memory_peak;
    const char *data = tare_output_stdout(output, &len);
    say_stream("stdout", data, len);
    data = tare_output_stderr(output, &len);
    say_stream("stderr", data, len);
    if (status.oom_kills && status.oom_kills != TARE_UNKNOWN)
        printf("> oom_kills %llu\n", (unsigned long long)status.oom_kills);
    tare_output_free(output);
}

/* The process of this name; a free place for "". */
static struct running *find(const char *name) {
    for (int i = 0; i < PROCESSES; i++)
        if (!strcmp(processes[i].name, name))
            return &processes[i];
    fail("no such process", name);
    return NULL;
}

static void spawn(const char *name) {
    struct running *new = find("");
    if (!went_well(tare_sandbox_spawn(sandbox, command(), &new->process, NULL)))
        return;
    snprintf(new->name, sizeof new->name, "%.31s", name);
    new->input = tare_process_take_stdin(new->process);
    puts("> spawned");
}

static void wait_for(struct running *running) {
    tare_output *output;
    if (went_well(tare_process_output(running->process, &output)))
        say_output(output);
    tare_process_free(running->process);
    running->name[0] = 0;
}

static void of_sandbox(const char *word, const char *rest);

static void *run_in_thread(void *output) { return tare_sandbox_run(sandbox, command(), output); }

/* Returns whether a command runs, and has made the file. */
static bool has_begun(const char *path) {
    tare_stat found = TARE_STAT_INIT;
    tare_error *error = tare_file_stat(sandbox, path, 0, &found);
    bool is_there = !error;
    tare_error_free(error);
    return is_there && count_commands() == 1;
}

/* Runs the next command in a thread, and ends the sandbox once the command has
   made the file. */
static void run_beside(const char *end, const char *path) {
    tare_output *output = NULL;
    void *error;
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_in_thread, &output))
        fail("pthread_create", path);
    while (!has_begun(path))
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    of_sandbox(end, "");
    pthread_join(thread, &error);
    if (went_well(error))
        say_output(output);
}

static int of_process(const char *word, const char *name, const char *rest) {
    if (!strcmp(word, "spawn")) {
        spawn(name);
    } else if (!strcmp(word, "run_beside")) {
        run_beside(name, rest);
    } else if (!strcmp(word, "wait")) {
        wait_for(find(name));
    } else if (!strcmp(word, "send")) {
        struct text data = unescape(rest);
        if (write(find(name)->input, data.data, data.len) != (ssize_t)data.len)
            fail("write", strerror(errno));
        free(data.data);
    } else if (!strcmp(word, "eof")) {
        close(find(name)->input);
    } else if (!strcmp(word, "signal")) {
        went_well(tare_process_signal(find(name)->process, atoi(rest)));
    } else if (!strcmp(word, "kill")) {
        went_well(tare_process_kill(find(name)->process));
    } else if (!strcmp(word, "kill_found")) {
        tare_process *found = NULL;
        uint64_t id = tare_process_id(find(name)->process);
        if (went_well(tare_sandbox_process(sandbox, id, &found)) && went_well(tare_process_kill(found)))
            puts("> found");
        tare_process_free(found);
    } else {
        return 0;
    }
    return 1;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *path) {
    tare_dir *dir;
    const char *name;
    char *names[64];
    size_t n = 0;
    if (!went_well(tare_dir_open(sandbox, path, &dir)))
        return;
    while (went_well(tare_dir_next(dir, NULL, &name)) && name && n < 64)
        names[n++] = strdup(name);
    tare_dir_free(dir);
    qsort(names, n, sizeof *names, by_name);
    printf("> list");
    for (size_t i = 0; i < n; free(names[i++]))
        printf(" %s", names[i]);
    putchar('\n');
}

static void stat_of(const char *path, uint64_t flags) {
    tare_stat found;
    found.size = sizeof found;
    if (!went_well(tare_file_stat(sandbox, path, flags, &found)))
        return;
    const char *kind = S_ISREG(found.mode) ? "file" : S_ISDIR(found.mode) ? "directory" : "symlink";
    printf("> stat %s %o", kind, (unsigned)found.mode & 07777);
    if (S_ISREG(found.mode))
        printf(" %llu", (unsigned long long)found.bytes);
    putchar('\n');
}

static int of_file(const char *word, const char *path, char *rest) {
    if (!strcmp(word, "read")) {
        tare_bytes *bytes;
        if (went_well(tare_file_read(sandbox, path, 0, &bytes))) {
            say_bytes("data", tare_bytes_data(bytes), tare_bytes_len(bytes));
            tare_bytes_free(bytes);
        }
    } else if (!strcmp(word, "write")) {
        char *text;
        uint32_t mode = (uint32_t)strtoul(rest, &text, 8);
        struct text data = unescape(text + 1);
        done(tare_file_write(sandbox, path, data.data, data.len, mode), "wrote");
        free(data.data);
    } else if (!strcmp(word, "mkdir")) {
        done(tare_file_mkdir(sandbox, path, (uint32_t)strtoul(rest, NULL, 8), 0), "made");
    } else if (!strcmp(word, "list")) {
        list(path);
    } else if (!strcmp(word, "stat")) {
        stat_of(path, 0);
    } else if (!strcmp(word, "lstat")) {
        stat_of(path, TARE_FILE_NO_FOLLOW);
    } else if (!strcmp(word, "remove")) {
        /* As remove(3) does. */
        tare_error *error = tare_file_remove(sandbox, path, 0);
        if (error && tare_error_errno(error) == EISDIR) {
            tare_error_free(error);
            error = tare_file_remove(sandbox, path, TARE_FILE_DIRECTORY);
        }
        done(error, "removed");
    } else if (!strcmp(word, "remove_all")) {
        done(tare_file_remove(sandbox, path, TARE_FILE_TREE), "removed");
    } else {
        return 0;
    }
    return 1;
}

/* Waits for the next event. */
static void say_event(void) {
    tare_event event = TARE_EVENT_INIT;
    struct pollfd at = {tare_events_fd(events), POLLIN, 0};
    while (went_well(tare_events_next(events, &event))) {
        if (event.kind == TARE_EVENT_OOM)
            printf("> event oom %llu\n", (unsigned long long)event.oom_kills);
        else if (event.kind == TARE_EVENT_GONE)
            puts("> event gone");
        else {
            poll(&at, 1, -1);
            continue;
        }
        return;
    }
}

/* Closes the sandbox of the case so far. */
static void end_last(void) {
    if (sandbox)
        went_well(tare_sandbox_close(sandbox));
    sandbox = NULL;
}

static void of_sandbox(const char *word, const char *rest) {
    tare_output *output;
    if (!strcmp(word, "open")) {
        end_last();
        went_well(tare_sandbox_open(store, rest, strlen(rest), &sandbox));
    } else if (!strcmp(word, "take")) {
        tare_pool *pool;
        end_last();
        if (went_well(tare_pool_open(store, NULL, rest, strlen(rest), 1, 2, &pool))) {
            went_well(tare_pool_take(pool, &sandbox));
            went_well(tare_pool_close(pool));
        }
    } else if (!strcmp(word, "run")) {
        if (went_well(tare_sandbox_run(sandbox, command(), &output)))
            say_output(output);
    } else if (!strcmp(word, "reset")) {
        done(tare_sandbox_reset(sandbox), "reset");
    } else if (!strcmp(word, "freeze")) {
        done(tare_sandbox_freeze(sandbox), "frozen");
    } else if (!strcmp(word, "thaw")) {
        done(tare_sandbox_thaw(sandbox), "thawed");
    } else if (!strcmp(word, "limit")) {
        done(tare_sandbox_set_limits(sandbox, rest, strlen(rest)), "limited");
    } else if (!strcmp(word, "commands")) {
        printf("> %d run\n", count_commands());
    } else if (!strcmp(word, "memory_peak")) {
        say_memory_peak(rest);
    } else if (!strcmp(word, "usage")) {
        say_usage(rest);
    } else if (!strcmp(word, "left_out")) {
        say_left_out();
    } else if (!strcmp(word, "told")) {
        say_told();
    } else if (!strcmp(word, "watch")) {
        tare_events_free(events);
        events = NULL;
        done(tare_sandbox_events(sandbox, &events), "watching");
    } else if (!strcmp(word, "event")) {
        say_event();
    } else if (!strcmp(word, "close")) {
        done(tare_sandbox_close(sandbox), "closed");
        sandbox = NULL;
    } else {
        fail("no such word", word);
    }
}

int main(int argc, char **argv) {
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    signal(SIGPIPE, SIG_IGN);
    if (argc != 2 || !went_well(tare_store_open(argv[1], &store)))
        return 1;
    forget();
    tare_set_log(note_left_out, NULL, TARE_LOG_WARNING);
    while ((len = getline(&line, &room, stdin)) >= 0) {
        line[strcspn(line, "\n")] = 0;
        char *rest = strchr(line, ' ');
        rest = rest ? (*rest = 0, rest + 1) : line + strlen(line);
        if (!strcmp(line, "case")) {
            forget();
            printf("case %s\n", rest);
        } else if (*line && *line != '#' && *line != '>' && !take(line, rest)) {
            char *more = strchr(rest, ' '), name[512];
            snprintf(name, sizeof name, "%.*s", more ? (int)(more - rest) : 511, rest);
            more = more ? more + 1 : rest + strlen(rest);
            if (!of_process(line, name, more) && !of_file(line, name, more))
                of_sandbox(line, rest);
            if (!strcmp(line, "run") || !strcmp(line, "spawn") || !strcmp(line, "run_beside"))
                forget();
        }
        fflush(stdout);
    }
    free(line);
    tare_events_free(events);
    if (sandbox)
        went_well(tare_sandbox_close(sandbox));
    tare_store_free(store);
    return 0;
}
