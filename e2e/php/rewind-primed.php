<?php // Primes with a request that loads a class and leaves whatever it can. Each request says what it finds of that.
class Counter
{
    public static int $times = 0;
}
function counted(bool $more = false): int
{
    static $times = 0;

    return $more ? ++$times : $times;
}
$file = sys_get_temp_dir() . '/primed-' . getmypid();
spl_autoload_register(function (string $class) {
    if ($class === 'Primed') {
        eval('final class Primed {}');
    }
});
if (getenv('PATHS') !== '') {
    $loaded = regie_prime(function () {
        new Primed();
        counted(true);
        Counter::$times++;
        $GLOBALS['left'] = 'something';
        define('LEFT', 1);
        preg_match('/primed \d+/', 'primed 1');
        tmpfile();
        ini_set('precision', '3');
        chdir('/');
    });
    if ($loaded < 1) {
        exit(3);
    }
}
$booted = getmypid();
regie_checkpoint();
printf(
    'loaded:%s counted:%d static:%d global:%s constant:%s pattern:%s file:%s child:%s',
    class_exists('Primed', false) ? 'yes' : 'no',
    counted(),
    Counter::$times,
    $GLOBALS['left'] ?? 'none',
    defined('LEFT') ? 'yes' : 'no',
    preg_match('/primed \d+/', 'primed 1') && ini_get('precision') !== '3' ? 'ok' : 'wrong',
    getcwd() === '/' ? 'yes' : 'no',
    $booted === getmypid() ? 'yes' : 'no',
);
