/* Two event loops that do nothing but read requests and answer them, for `loops.sh`: what the way of asking the kernel
 * costs, without a store behind it. A request is a line (an inline PING); each is answered with "+PONG\r\n".
 *
 *   loops epoll|uring PORT
 *
 * epoll: one wait for a turn, then one read and one write for each socket, as the store does.
 * uring: receives and sends are queued, and one call for a turn hands them over and waits for what is done. */
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CLIENTS 1024
#define CHUNK 16384
#define ENTRIES 2048

static char in[CLIENTS][CHUNK], out[CLIENTS][CHUNK * 2];

static void need(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(69);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    need(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 511) == 0, "listen");
    return fd;
}

static void hurry(int fd) {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/* Writes an answer for each line; how many bytes. */
static int answer(int fd, int length) {
    int size = 0;
    for (char *at = in[fd], *end = at + length; (at = memchr(at, '\n', end - at)); at++) {
        memcpy(out[fd] + size, "+PONG\r\n", 7);
        size += 7;
    }
    return size;
}

static void with_epoll(int door) {
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door}, ready[CLIENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &event);
    for (;;) {
        int count = epoll_wait(poll, ready, CLIENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == door) {
                fd = accept(door, 0, 0);
                need(fd >= 0 && fd < CLIENTS, "accept");
                hurry(fd);
                event.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            int length = read(fd, in[fd], CHUNK);
            if (length <= 0)
                close(fd);
            else
                need(write(fd, out[fd], answer(fd, length)) >= 0, "write");
        }
    }
}

static struct io_uring_sqe *entries;
static struct io_uring_cqe *done;
static unsigned *tail, *done_head, *done_tail, *array, mask, done_mask, queued;

static void queue(int op, int fd, void *bytes, int length, int kind) {
    unsigned at = *tail & mask;
    entries[at] = (struct io_uring_sqe){.opcode = op, .fd = fd, .addr = (unsigned long)bytes, .len = length, .user_data = (unsigned)kind << 16 | fd};
    array[at] = at;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    queued++;
}

static void with_uring(int door) {
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int ring = syscall(__NR_io_uring_setup, ENTRIES, &p);
    need(ring >= 0, "io_uring_setup");
    int both = PROT_READ | PROT_WRITE, how = MAP_SHARED | MAP_POPULATE;
    char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, both, how, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof *done, both, how, ring, IORING_OFF_CQ_RING);
    entries = mmap(0, p.sq_entries * sizeof *entries, both, how, ring, IORING_OFF_SQES);
    tail = (unsigned *)(sq + p.sq_off.tail), array = (unsigned *)(sq + p.sq_off.array);
    mask = *(unsigned *)(sq + p.sq_off.ring_mask), done_mask = *(unsigned *)(cq + p.cq_off.ring_mask);
    done_head = (unsigned *)(cq + p.cq_off.head), done_tail = (unsigned *)(cq + p.cq_off.tail);
    done = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
    enum { ACCEPT, RECEIVE, SEND };
    queue(IORING_OP_ACCEPT, door, 0, 0, ACCEPT);
    for (;;) {
        need(syscall(__NR_io_uring_enter, ring, queued, 1, IORING_ENTER_GETEVENTS, 0, 0) >= 0, "io_uring_enter");
        queued = 0;
        unsigned head = *done_head, end = __atomic_load_n(done_tail, __ATOMIC_ACQUIRE);
        for (; head != end; head++) {
            struct io_uring_cqe *one = &done[head & done_mask];
            int fd = one->user_data & 0xffff, kind = one->user_data >> 16;
            if (kind == ACCEPT) {
                need(one->res >= 0 && one->res < CLIENTS, "accept");
                hurry(one->res);
                queue(IORING_OP_RECV, one->res, in[one->res], CHUNK, RECEIVE);
                queue(IORING_OP_ACCEPT, door, 0, 0, ACCEPT);
            } else if (kind == RECEIVE && one->res <= 0) {
                close(fd);
            } else if (kind == RECEIVE) {
                queue(IORING_OP_SEND, fd, out[fd], answer(fd, one->res), SEND);
                queue(IORING_OP_RECV, fd, in[fd], CHUNK, RECEIVE);
            }
        }
        __atomic_store_n(done_head, head, __ATOMIC_RELEASE);
    }
}

int main(int argc, char **argv) {
    need(argc == 3, "usage: loops epoll|uring PORT");
    int door = listen_on(atoi(argv[2]));
    strcmp(argv[1], "uring") ? with_epoll(door) : with_uring(door);
}
