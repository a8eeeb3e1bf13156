/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Looks from inside a sandbox whether something can be done, and says how the
 * kernel answered: "WHAT ok" or "WHAT ERRNO", one line for each attempt. It
 * never does more than find out.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static long number(const char *text) { return strtol(text, NULL, 0); }

/* open FLAGS PATH...: r, w, p (O_PATH) */
static void try_open(char **arg)
{
	int flags = **arg == 'w' ? O_WRONLY : **arg == 'p' ? O_PATH : O_RDONLY;

	for (arg++; *arg; arg++) {
		int fd = open(*arg, flags | O_NONBLOCK | O_CLOEXEC);
		say(*arg, fd);
		close(fd);
	}
}

/* read PATH...: how many bytes come back, at most a page */
static void try_read(char **arg)
{
	char page[4096];

	for (; *arg; arg++) {
		int fd = open(*arg, O_RDONLY | O_NONBLOCK);
		long got = fd < 0 ? -1 : read(fd, page, sizeof page);
		if (got < 0)
			say(*arg, -1);
		else
			printf("%s %ld\n", *arg, got);
		close(fd);
	}
}

/* write PATH...: one byte of what is there already, or a newline */
static void try_write(char **arg)
{
	for (; *arg; arg++) {
		char old[4096] = "\n";
		int in = open(*arg, O_RDONLY | O_NONBLOCK);
		long n = in < 0 ? 1 : read(in, old, sizeof old);
		int fd = open(*arg, O_WRONLY | O_NONBLOCK);
		say(*arg, fd < 0 ? -1 : write(fd, old, n > 0 ? n : 1));
		close(in);
		close(fd);
	}
}

/* node TYPE MAJOR MINOR PATH: make it, then open what was made */
static void try_node(char **arg)
{
	mode_t type = **arg == 'b' ? S_IFBLK : S_IFCHR;

	unlink(arg[3]);
	say("mknod", mknod(arg[3], type | 0666, makedev(number(arg[1]), number(arg[2]))));
	say("open", open(arg[3], O_RDONLY | O_NONBLOCK));
}

/* process PID: everything that would be a way into another process */
static void try_process(char **arg)
{
	static const char *const files[] = { "mem", "environ", "maps", "auxv", "fd/3", "cwd/", "root/", "exe" };
	long pid = number(*arg), buffer = 0;
	char path[64];
	struct iovec iov = { &buffer, sizeof buffer }, far = { (void *)0x400000, sizeof buffer };

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/%ld/%s", pid, files[i]);
		int fd = open(path, O_RDONLY);
		/* environ, maps and auxv open for everybody, and are empty then. */
		say(files[i], fd < 0 ? -1 : i >= 1 && i <= 3 && read(fd, &buffer, 8) == 0 ? (errno = EACCES, -1) : 0);
		close(fd);
	}
	say("attach", ptrace(PTRACE_ATTACH, pid, 0, 0));
	say("seize", ptrace(PTRACE_SEIZE, pid, 0, 0));
	say("vm_readv", syscall(SYS_process_vm_readv, pid, &iov, 1L, &far, 1L, 0L));
	say("vm_writev", syscall(SYS_process_vm_writev, pid, &iov, 1L, &far, 1L, 0L));
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	say("pidfd_open", pidfd);
	say("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd, 3, 0));
	say("kcmp", syscall(SYS_kcmp, pid, getpid(), 2, 0, 0));
	/* Not 0, which asks whether the process is there. */
	say("kill", kill(pid, SIGCONT));
}

/* One way into a process that still is the helper, not yet the command. */
static void spy_on(const char *pid)
{
	char path[PATH_MAX], text[4096];
	long n;

	snprintf(path, sizeof path, "/proc/%s/exe", pid);
	if ((n = readlink(path, text, sizeof text - 1)) > 0 && memmem(text, n, "memfd:", 6))
		printf("breach %s exe\n", pid);
	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	int fd = open(path, O_RDONLY);
	if (fd >= 0 && (n = read(fd, text, sizeof text)) > 0 && memmem(text, n, "memfd:", 6))
		printf("breach %s maps\n", pid);
	close(fd);
	/* What runs has no more than its three. */
	snprintf(path, sizeof path, "/proc/%s/fd/3", pid);
	if ((n = readlink(path, text, sizeof text - 1)) > 0)
		printf("breach %s fd %.*s\n", pid, (int)n, text);
	if (ptrace(PTRACE_SEIZE, number(pid), 0, 0) == 0) {
		snprintf(path, sizeof path, "/proc/%s/exe", pid);
		ptrace(PTRACE_INTERRUPT, number(pid), 0, 0);
		waitpid(number(pid), NULL, __WALL);
		if ((n = readlink(path, text, sizeof text - 1)) > 0 && memmem(text, n, "memfd:", 6))
			printf("breach %s ptrace\n", pid);
		ptrace(PTRACE_DETACH, number(pid), 0, 0);
	}
}

/* spy MILLISECONDS: looks into every process of the sandbox over and over, for
   that long */
static void spy(char **arg)
{
	struct timespec now, end;
	long looks = 0, others = 0;
	DIR *proc = opendir("/proc");

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += number(*arg) % 1000 * 1000000;
	end.tv_sec += number(*arg) / 1000 + end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	puts("looking");
	fflush(stdout);
	do {
		rewinddir(proc);
		for (struct dirent *e; (e = readdir(proc));) {
			long pid = number(e->d_name);
			if (pid < 1 || pid == getpid())
				continue;
			looks++;
			others += pid != 1;
			spy_on(e->d_name);
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
	printf("looks %ld others %ld\n", looks, others);
}

/* stop: stops every other process of the sandbox, for ever */
static void stop_all(void)
{
	puts("stopping");
	fflush(stdout);
	for (;;)
		kill(-1, SIGSTOP);
}

/* swap A B: exchanges two names for ever */
static void swap(char **arg)
{
	puts("swapping");
	fflush(stdout);
	for (;;)
		syscall(SYS_renameat2, AT_FDCWD, arg[0], AT_FDCWD, arg[1], 2);
}

/* deep N: directories one below the other, from the working directory down;
   every other one closed */
static void deep(char **arg)
{
	for (long n = number(*arg); n > 0; n--) {
		if (mkdir("r0", 0700) || chdir("r0")) {
			say("deep", -1);
			return;
		}
		chmod(".", n % 2 ? 0 : 0700);
	}
	say("deep", 0);
}

/* fds: number and target of every open descriptor */
static void fds(void)
{
	char path[64], text[PATH_MAX];

	for (int fd = 0; fd < 4096; fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		long n = readlink(path, text, sizeof text - 1);
		if (n >= 0)
			printf("%d %.*s\n", fd, (int)n, text);
	}
}

/* terminal: what could put characters into the terminal that is standard input
   */
static void terminal(void)
{
	char c = 'x', selection[2] = { 3, 0 };

	say("tiocsctty", ioctl(0, TIOCSCTTY, 0));
	say("tiocsti", ioctl(0, TIOCSTI, &c));
	say("tioclinux", ioctl(0, TIOCLINUX, selection));
	int tty = open("/dev/tty", O_RDWR);
	say("/dev/tty", tty);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* namespaces FLAG...: unshare(2), clone(2) and clone3(2) with each */
static void namespaces(char **arg)
{
	static char stack[65536];
	char what[64];

	for (; *arg; arg++) {
		uint64_t args[11] = { number(*arg), 0, 0, 0, SIGCHLD };
		snprintf(what, sizeof what, "clone %s", *arg);
		say(what, clone(nothing, stack + sizeof stack, number(*arg) | SIGCHLD, NULL));
		snprintf(what, sizeof what, "clone3 %s", *arg);
		int pid = syscall(SYS_clone3, args, sizeof args);
		if (pid == 0)
			_exit(0);
		say(what, pid);
		snprintf(what, sizeof what, "unshare %s", *arg);
		say(what, unshare(number(*arg)));
	}
	int own = open("/proc/self/ns/user", O_RDONLY);
	say("setns", setns(own, 0));
}

/* surface: calls that reach far into the kernel */
static void surface(void)
{
	struct {
		struct file_handle handle;
		char bytes[128];
	} at = { { 128, 0, {} }, "" };
	char attr[128] = "";
	int id;

	say("bpf", syscall(SYS_bpf, 0, attr, sizeof attr));
	say("perf_event_open", syscall(SYS_perf_event_open, attr, 0, -1, -1, 0));
	say("userfaultfd", syscall(SYS_userfaultfd, 0));
	say("io_uring_setup", syscall(SYS_io_uring_setup, 1, attr));
	say("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
	say("init_module", syscall(SYS_init_module, attr, 0, ""));
	say("iopl", syscall(SYS_iopl, 3));
	say("ioperm", syscall(SYS_ioperm, 0, 1, 1));
	say("quotactl", syscall(SYS_quotactl, 0x800002, "/", 0, attr));
	say("name_to_handle_at", name_to_handle_at(AT_FDCWD, "/", &at.handle, &id, 0));
	say("open_by_handle_at", open_by_handle_at(AT_FDCWD, &at.handle, O_RDONLY));
	say("fsopen", syscall(SYS_fsopen, "ext4", 0));
	say("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
	say("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/proc/sys", 0, attr, 32));
	say("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/", 0));
	say("pivot_root", syscall(SYS_pivot_root, "/", "/"));
	say("swapon", syscall(SYS_swapon, "/none", 0));
	say("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
	say("settimeofday", syscall(SYS_settimeofday, 0, attr));
	say("add_key", syscall(SYS_add_key, "user", "tare", "x", 1, -3));
	say("request_key", syscall(SYS_request_key, "user", "tare", 0, -3));
	say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
}

/* lists the root directory, a line each */
static void list_root(const char *what)
{
	DIR *root = opendir("/");
	struct dirent *entry;

	while (root && (entry = readdir(root)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			printf("%s has %s\n", what, entry->d_name);
	if (root)
		closedir(root);
}

/* escape: the way out of a chroot, as far up as it leads */
static void escape(void)
{
	int here = open("/", O_RDONLY | O_DIRECTORY);

	say("mkdir", mkdir("/tmp/cell", 0755));
	say("chroot", chroot("/tmp/cell"));
	say("fchdir", fchdir(here));
	for (int n = 0; n < 100; n++)
		chdir("..");
	say("out", chroot("."));
	list_root("top");
}

/* bottom: what is left when the root is unmounted, for who may do that */
static void bottom(void)
{
	int own = open("/proc/self/ns/mnt", O_RDONLY);

	say("umount", umount2("/", MNT_DETACH));
	say("setns", setns(own, CLONE_NEWNS));
	list_root("bottom");
	say("write", open("/made", O_WRONLY | O_CREAT, 0600));
	say("mkdir", mkdir("/made", 0755));
}

/* mount TARGET SOURCE TYPE FLAGS */
static void try_mount(char **arg)
{
	say("mount", mount(arg[1], arg[0], arg[2], number(arg[3]), NULL));
}

/* keyring: what the session keyring is called and its number, and whether a key
   in it or in the user's can be found */
static void keyring(char **arg)
{
	char text[256];
	long id = syscall(SYS_keyctl, 0, -3, 0);

	say("session", id);
	printf("serial %ld\n", id);
	if (syscall(SYS_keyctl, 6, -3, text, sizeof text) > 0)
		printf("describes %s\n", text);
	for (; *arg; arg++) {
		say("search @s", syscall(SYS_keyctl, 10, -3, "user", *arg, 0));
		say("read", syscall(SYS_keyctl, 11, syscall(SYS_request_key, "user", *arg, 0, 0), text, sizeof text));
	}
}

/* filecap PATH: gives a program every capability, vfs_cap_data of version 2 */
static void filecap(char **arg)
{
	uint32_t data[5] = { 0x02000001, 0xa80425fb, 0, 0, 0 };

	say("setxattr", setxattr(*arg, "security.capability", data, sizeof data, 0));
}

/* raise: gains by asking */
static void raise_caps(void)
{
	say("setuid 0", setuid(0));
	say("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0));
	say("clear nnp", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char **arg = argv + 2;

	if (!strcmp(what, "open")) try_open(arg);
	else if (!strcmp(what, "read")) try_read(arg);
	else if (!strcmp(what, "write")) try_write(arg);
	else if (!strcmp(what, "node")) try_node(arg);
	else if (!strcmp(what, "process")) try_process(arg);
	else if (!strcmp(what, "spy")) spy(arg);
	else if (!strcmp(what, "stop")) stop_all();
	else if (!strcmp(what, "swap")) swap(arg);
	else if (!strcmp(what, "deep")) deep(arg);
	else if (!strcmp(what, "fds")) fds();
	else if (!strcmp(what, "terminal")) terminal();
	else if (!strcmp(what, "namespaces")) namespaces(arg);
	else if (!strcmp(what, "surface")) surface();
	else if (!strcmp(what, "mount")) try_mount(arg);
	else if (!strcmp(what, "escape")) escape();
	else if (!strcmp(what, "bottom")) bottom();
	else if (!strcmp(what, "umount")) say("umount", umount2(*arg, 0));
	else if (!strcmp(what, "keyring")) keyring(arg);
	else if (!strcmp(what, "filecap")) filecap(arg);
	else if (!strcmp(what, "raise")) raise_caps();
	else if (!strcmp(what, "ids")) printf("%d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
	else if (!strcmp(what, "crash")) raise(SIGSEGV);
	else return 2;
	return 0;
}
