<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

page('slow', function (): void {
    ?>
  <section class="panel" data-actions>
    <header>
      <h2>Keep a worker busy</h2>
      <p>A worker takes one request at a time. While one sleeps, the server hands the others to workers that are free.</p>
    </header>
    <p class="row">
<?php foreach ([1, 2, 4] as $seconds) { ?>
      <button type="button" data-action="/wait.php?seconds=<?= $seconds ?>" data-label="<?= $seconds ?> s of sleep">Sleep <?= $seconds ?> s</button>
<?php } ?>
    </p>
    <ul class="events" data-events role="log" aria-label="What happened"></ul>
  </section>
<?php strip('Everyone else, meanwhile'); ?>
<?php
});
