<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

page('request', function (): void {
    ?>
  <p class="line"><code><?= e($_SERVER['REQUEST_METHOD'] ?? '') ?> <?= e($_SERVER['REQUEST_URI'] ?? '') ?></code>
  <span>reached PHP over <?= e($_SERVER['SERVER_PROTOCOL'] ?? '?') ?> from <?= e($_SERVER['REMOTE_ADDR'] ?? '?') ?></span></p>
<?php foreach (requestVariables() as $group => $variables) { ?>
  <section class="panel">
    <header><h2><?= e($group) ?></h2></header>
    <table class="pairs">
      <tbody>
<?php foreach ($variables as $name => $value) { ?>
        <tr><th scope="row"><?= e($name) ?></th><td><?= e($value) ?></td></tr>
<?php } ?>
      </tbody>
    </table>
  </section>
<?php } ?>
  <section class="panel">
    <header><h2>Try it</h2><p>The same page, asked in another way.</p></header>
    <form class="row" method="get" action="/request.php">
      <label>Query <input name="colour" value="<?= e(is_string($_GET['colour'] ?? null) ? $_GET['colour'] : 'bleu nuit') ?>"></label>
      <button>Send as GET</button>
      <button formmethod="post">Send as POST</button>
    </form>
<?php if (is_string($_REQUEST['colour'] ?? null)) { ?>
    <p class="note">PHP received <code>colour = <?= e($_REQUEST['colour']) ?></code> in <code><?= isset($_POST['colour']) ? '$_POST' : '$_GET' ?></code>.</p>
<?php } ?>
  </section>
<?php
});
