<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax', 'use_strict_mode' => true]);
$_SESSION['since'] ??= time();
$_SESSION['count'] ??= 0;

if (($_SERVER['REQUEST_METHOD'] ?? '') === 'POST') {
    if (isset($_POST['forget'])) {
        $_SESSION = [];
        session_regenerate_id(true);
    } else {
        $_SESSION['count']++;
        $_SESSION['by'][getmypid()] = ($_SESSION['by'][getmypid()] ?? 0) + 1;
    }
    header('Location: /session.php', true, 303);

    return;
}

$session = $_SESSION;
session_write_close();

page('session', function () use ($session): void {
    ?>
  <section class="panel counter">
    <p class="big" role="status"><?= (int) $session['count'] ?></p>
    <form class="row" method="post" action="/session.php">
      <button>Count one more</button>
      <button class="quiet" name="forget" value="1">Forget me</button>
    </form>
    <p class="note">Known since <?= e(date('H:i:s', $session['since'])) ?>, kept by PHP's <code><?= e(ini_get('session.save_handler')) ?></code> handler.</p>
  </section>
<?php if (!empty($session['by'])) { ?>
  <section class="panel">
    <header><h2>Who counted</h2><p>The number is one; the processes that raised it are many.</p></header>
    <table class="pairs"><tbody>
<?php foreach ($session['by'] as $pid => $count) { ?>
      <tr><th scope="row">process <?= (int) $pid ?></th><td><?= (int) $count ?></td></tr>
<?php } ?>
    </tbody></table>
  </section>
<?php } ?>
  <p class="aside">Open this page in a private window: it starts at zero there. In worker mode too, where the same process serves both of you.</p>
<?php
});
