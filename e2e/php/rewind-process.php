<?php // Says what the request finds of what a process has besides its memory, or does something to it, as ?do= says.
$file = fopen(__FILE__, 'r');
fread($file, 5);
define('BOOTED', getmypid());
apcu_store('counted', 0);
// The part of a mapping of the boot that nobody needs: its file is the library of an extension.
preg_match('~^([0-9a-f]+)-([0-9a-f]+) rw-p [0-9a-f]+ \S+ \d+ +/\S*/apcu\.so$~m', file_get_contents('/proc/self/maps'), $found);
define('UNUSED', [hexdec($found[1]), hexdec($found[2]) - hexdec($found[1])]);
regie_checkpoint();
$libc = FFI::cdef('
    struct timer { long every, every_us, left, left_us; };
    int getitimer(int which, struct timer *now);
    int setitimer(int which, struct timer *wanted, void *before);
    int pthread_create(unsigned long *thread, void *attributes, unsigned (*run)(unsigned), unsigned long seconds);
    unsigned sleep(unsigned seconds);
    int timer_create(int clock, void *event, void **timer);
    long syscall(long number, size_t at, size_t length, long protection, long flags, long fd, long offset);
');

function found(FFI $libc): array
{
    $timer = $libc->new('struct timer');
    pcntl_sigprocmask(SIG_BLOCK, [], $blocked);

    return [
        'blocked' => $blocked,
        'alarm' => pcntl_alarm(0),
        'timer' => $libc->getitimer(1, FFI::addr($timer)) === 0 ? $timer->left : -1,
        'handler' => pcntl_signal_get_handler(SIGUSR1),
    ];
}

$ways = [
    'mask' => fn () => pcntl_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGUSR2]),
    'alarm' => fn () => pcntl_alarm(1000),
    'interval' => function () use ($libc) { $timer = $libc->new('struct timer'); $timer->left = 1000; $libc->setitimer(1, FFI::addr($timer), null); },
    'handler' => function () { pcntl_async_signals(true); pcntl_signal(SIGUSR1, fn () => print('heard ')); posix_kill(getmypid(), SIGUSR1); },
    'thread' => function () use ($libc) { $thread = FFI::new('unsigned long'); $libc->pthread_create(FFI::addr($thread), null, $libc->sleep, 1000); },
    'timer' => function () use ($libc) { $timer = FFI::new('void *'); $libc->timer_create(1, null, FFI::addr($timer)); },
    // By an extension that is a library of its own.
    'group' => fn () => posix_setpgid(0, 0),
    'limit' => fn () => posix_setrlimit(POSIX_RLIMIT_CORE, 0, 0),
    'priority' => fn () => pcntl_setpriority(5),
    // Behind libc's back: one mapping less, and one of the same size elsewhere.
    'elsewhere' => function () use ($libc) {
        [$at, $length] = UNUSED;
        $code = $libc->syscall(11, $at, $length, 0, 0, 0, 0);
        $code === 0 && $libc->syscall(9, 0, $length, 3, 0x22, -1, 0);
        echo $code === 0 ? 'removed ' : 'refused ';
    },
    // The same in its place.
    'instead' => fn () => $libc->syscall(9, UNUSED[0], UNUSED[1], 3, 0x32, -1, 0),
    'locale' => fn () => setlocale(LC_ALL, 'C.UTF-8'),
    'map' => fn () => $libc->syscall(9, 0, 1 << 20, 3, 0x22, -1, 0),
    'offset' => function () use ($file) { echo ftell($file), ' ', fread($file, 4), ' '; },
    // Keeps it until the test says that it is enough.
    'lock' => function () use ($file) {
        fread($file, 100);
        flock($file, LOCK_EX);
        echo 'locked ';
        ob_get_level() && ob_flush();
        flush();
        for ($i = 0; $i < 3000 && !file_exists($_GET['until']); $i++) {
            usleep(10000);
            clearstatcache();
        }
    },
    'try' => function () use ($file) { echo flock($file, LOCK_EX | LOCK_NB) ? 'got ' : 'taken '; },
    'shared' => function () { echo apcu_inc('counted'), ' '; apcu_store('last', getmypid()); },
    'file' => function () { echo $_FILES['file']['tmp_name'], ' '; },
];
$wanted = explode(',', $_GET['do'] ?? '');
if ($wanted === ['found']) {
    echo json_encode(found($libc));
    exit;
}
foreach ($wanted as $way) {
    $ways[$way]();
}
echo getmypid();
