<?php

declare(strict_types=1);

/*
 * Redis's protocol by phpredis. The tour's .env says REDIS_HOST=redis, as a compose file would;
 * Régie leads that to the store and gives host, port and password as environment.
 */

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

$facts = storeFacts();

page('store', function () use ($facts): void {
    if (is_string($facts)) {
        ?>
  <section class="panel"><p><?= e($facts) ?></p></section>
<?php
        return;
    }
    ?>
  <section class="panel counter">
    <p class="big" role="status"><?= (int) $facts['visits'] ?></p>
    <p class="note">Visits, counted by <code>INCR</code> in the store; a restart of everything does not forget them.</p>
  </section>
  <section class="panel">
    <header><h2>What it did for this page</h2></header>
    <table class="pairs"><tbody>
      <tr><th scope="row">cached value</th><td>made at <?= e($facts['cached']) ?>, <?= $facts['fresh'] ? 'just now: it took 300 ms' : 'found: it took none' ?>; gone in <?= (int) $facts['left'] ?> s</td></tr>
      <tr><th scope="row">published to</th><td><?= (int) $facts['heard'] ?> subscribers of <code>tour:news</code></td></tr>
      <tr><th scope="row">server</th><td><?= e($facts['server']) ?>, <?= e($facts['memory']) ?>, <?= (int) $facts['clients'] ?> clients</td></tr>
    </tbody></table>
  </section>
  <p class="aside">Listen in a terminal with <code>regie store cli subscribe tour:news</code>, and open this page again. <code>regie store stats</code> shows the rest.</p>
<?php
});
