/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Asks the kernel for every call with arguments that it cannot honour, each in
   a process of its own, and prints "ABI NUMBER ERRNO", ERRNO -1 if it never
   came back. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define X32_BIT 0x40000000L

/* A place for each answer: a child that fork(2) itself made may write to its
   own late. */
static volatile int *result;

static int native(long number)
{
	/* Creates a queue that outlives us if all bits are set. */
	long second = number == SYS_msgget ? 0 : -1;

	return syscall(number, -1L, second, -1L, -1L, -1L, -1L) == -1 ? errno : 0;
}

static int x32(long number) { return native(number | X32_BIT); }

static int i386(long number)
{
	long value = number;

	__asm__ volatile("int $0x80" : "+a"(value)
			 : "b"(-1L), "c"(-1L), "d"(-1L), "S"(-1L), "D"(-1L) : "memory");
	return (int)value < 0 ? -(int)value : 0;
}

static int family(long number)
{
	return syscall(SYS_socket, number, 0L, 0L) == -1 ? errno : 0;
}

static void ask(const char *abi, int (*call)(long), long number)
{
	struct itimerval soon = { { 0, 0 }, { 0, 100000 } };

	*++result = -1;
	pid_t pid = fork();
	if (pid == 0) {
		setsid(); /* no terminal that vhangup could hang up */
		setitimer(ITIMER_REAL, &soon, NULL);
		*result = call(number);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) != pid)
		;
	printf("%s %ld %d\n", abi, number, *result);
}

int main(void)
{
	result = mmap(NULL, 2000 * sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (result == MAP_FAILED)
		return 1;
	for (long number = 0; number <= 600; number++) {
		if (number != SYS_sync) /* slow and always allowed */
			ask("native", native, number);
		ask("x32", x32, number);
		ask("i386", i386, number);
	}
	for (long number = 0; number <= 46; number++)
		ask("family", family, number);
	return 0;
}
