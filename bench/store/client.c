/* A client for `saturate.sh` that costs less than any server: 50 connections, each with the same 16 commands on their way,
 * whose answers are known by their length and not read.
 *
 *   client PORT REQUESTS COMMAND LENGTH-OF-ITS-ANSWER
 *
 * Prints requests per second. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 50
#define DEPTH 16

static void need(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(69);
    }
}

int main(int argc, char **argv) {
    need(argc == 5, "usage: client PORT REQUESTS COMMAND LENGTH");
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    long wanted = atol(argv[2]), done = 0;
    int whole = DEPTH * atoi(argv[4]), length = DEPTH * strlen(argv[3]), had[1024] = {0};
    static char answers[65536];
    char *batch = calloc(1, length + 1);
    for (int i = 0; i < DEPTH; i++)
        strcat(batch, argv[3]);
    int poll = epoll_create1(0);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < CLIENTS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
        need(connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && fd < 1024, "connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        need(write(fd, batch, length) == length, "write");
    }
    while (done < wanted) {
        struct epoll_event ready[CLIENTS];
        int count = epoll_wait(poll, ready, CLIENTS, 10000);
        need(count > 0, "no answer within 10 s");
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd, got = read(fd, answers, sizeof answers);
            need(got > 0, "read");
            if ((had[fd] += got) >= whole) {
                had[fd] -= whole;
                done += DEPTH;
                need(write(fd, batch, length) == length, "write");
            }
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.0f\n", done / (end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9));
}
