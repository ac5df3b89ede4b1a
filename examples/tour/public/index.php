<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

page('index', function (): void {
    $opcache = opcache();
    $facts = [
        ['Mode', mode(), mode() === 'worker'
            ? 'the application is in memory; this process loops over requests'
            : 'each request starts from nothing, as with php-fpm'],
        ['PHP', PHP_VERSION, (PHP_ZTS ? 'threads' : 'processes, no threads') . ', SAPI ' . PHP_SAPI],
        ['Worker', (string) getmypid(), 'the process that made this page'],
        ['Opcache', $opcache['text'], $opcache['detail']],
        ['Server', (string) ($_SERVER['SERVER_SOFTWARE'] ?? 'unknown'), (string) ($_SERVER['SERVER_PROTOCOL'] ?? '')],
        ['Memory', bytes(memory_get_usage(true)), ini_get('memory_limit') === '-1' ? 'no limit' : 'limit ' . ini_get('memory_limit')],
    ];
    ?>
  <dl class="facts">
<?php foreach ($facts as [$label, $value, $detail]) { ?>
    <div><dt><?= e($label) ?></dt><dd><b><?= e($value) ?></b><span><?= e($detail) ?></span></dd></div>
<?php } ?>
  </dl>

  <section class="panel" data-wall>
    <header>
      <h2>Who answers</h2>
      <p>Forty requests, six at a time. Each tile is one PHP process, and the answers it gave.</p>
    </header>
    <div class="wall" data-wall-tiles role="list" aria-label="Processes that answered"></div>
    <p class="row"><button type="button" data-wall-send>Send forty requests</button> <span class="note" role="status" data-wall-sum></span></p>
  </section>

  <section class="cards" aria-label="Pages of the tour">
<?php foreach (array_slice(PAGES, 1) as $key => [$title, $lead]) { ?>
    <a class="card" href="/<?= e($key) ?>.php"><b><?= e($title) ?></b><span><?= e($lead) ?></span></a>
<?php } ?>
  </section>
<?php
});
