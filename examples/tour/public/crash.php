<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

page('crash', function (): void {
    $ways = [
        'segfault' => ['Segmentation fault', 'The process sends itself SIGSEGV, as a broken extension would.'],
        'memory' => ['Out of memory', 'A string doubles until memory_limit ends the request.'],
        'loop' => ['Endless loop', 'The request never ends; the server\'s time limit does it.'],
        'kill' => ['Sudden death', 'The process is killed with SIGKILL in mid-request.'],
    ];
    ?>
  <section class="panel" data-actions>
    <header>
      <h2>Choose a way to die</h2>
      <p>The request that does it gets an error. Watch the strip below: no other request does.</p>
    </header>
    <div class="ways">
<?php foreach ($ways as $way => [$title, $text]) { ?>
      <button type="button" class="way" data-action="/crash-now.php?way=<?= e($way) ?>" data-method="POST" data-label="<?= e($title) ?>"><b><?= e($title) ?></b><span><?= e($text) ?></span></button>
<?php } ?>
    </div>
    <ul class="events" data-events role="log" aria-label="What happened"></ul>
  </section>
<?php strip('Everyone else, meanwhile'); ?>
<?php
});
