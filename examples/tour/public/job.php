<?php

declare(strict_types=1);

/*
 * Work that is done after the answer: this page puts an order into a list of the store, the program `letters` of
 * regie.toml takes it from there. Laravel's and Symfony's jobs need no program of their own: see docs/guide/queues.md.
 */

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

$fault = null;
$waiting = 0;
$written = [];
try {
    if (!class_exists(\Redis::class)) {
        throw new \RedisException('the PHP extension redis is not loaded: apt install php-redis, then regie restart.');
    }
    $store = store();
    if (($_SERVER['REQUEST_METHOD'] ?? '') === 'POST') {
        if ($store->lLen('tour:letters') < 100) {
            for ($i = 0; $i < 10; $i++) {
                $store->rPush('tour:letters', json_encode(['number' => $store->incr('tour:letter'), 'at' => microtime(true)]));
            }
        }
        header('Location: /job.php', true, 303);

        return;
    }
    $waiting = $store->lLen('tour:letters');
    $written = array_map(static fn (string $letter): array => json_decode($letter, true), $store->lRange('tour:written', 0, 9));
} catch (\RedisException $e) {
    $fault = $e->getMessage();
}

page('job', function () use ($fault, $waiting, $written): void {
    if ($fault !== null) {
        ?>
  <section class="panel"><p><?= e($fault) ?></p></section>
<?php
        return;
    }
    ?>
  <section class="panel counter">
    <p class="big" role="status"><?= (int) $waiting ?></p>
    <form class="row" method="post" action="/job.php">
      <button>Order ten letters</button>
    </form>
    <p class="note">Letters that wait. Each takes a fifth of a second to write, and the answer to you is there at once. Look again in a moment.</p>
  </section>
<?php if ($written) { ?>
  <section class="panel">
    <header><h2>Written</h2><p>By the program <code>letters</code>, which <code>regie status</code> shows beside the others.</p></header>
    <table class="pairs"><tbody>
<?php foreach ($written as $letter) { ?>
      <tr><th scope="row">letter <?= (int) $letter['number'] ?></th><td>waited <?= e($letter['waited_ms']) ?> ms, written by process <?= (int) $letter['by'] ?></td></tr>
<?php } ?>
    </tbody></table>
  </section>
<?php } ?>
  <p class="aside">Stop it with <code>regie stop letters</code>: orders wait in the store, over restarts too. For Laravel and Symfony, Régie runs the workers itself.</p>
<?php
});
