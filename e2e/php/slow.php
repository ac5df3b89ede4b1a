<?php // Sleeps in a method until a file is there, and says whether anything has woken it early.
require_once __DIR__ . '/executor.php';
final class Shop
{
    public function pay(string $gate): int
    {
        $early = sleep(1);
        for ($i = 0; $i < 6000 && !file_exists($gate); $i++) {
            usleep(10_000);
            clearstatcache();
        }
        return $early;
    }
}
behave(function () {
    echo 'woken ', (new Shop())->pay($_GET['gate']), ' s early';
});
