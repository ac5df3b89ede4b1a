<?php
/* The page around a page's content. Given: $name, $title, $lead, $body. */
namespace Tour;
$numbers = array_flip(array_keys(PAGES));
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title><?= e($title) ?> · Régie</title>
<link rel="icon" href="/assets/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/tour.css">
<script type="module" src="/assets/tour.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="rail">
  <a class="brand" href="/"><img src="/assets/mark.svg" width="30" height="30" alt=""><span>Régie</span></a>
  <nav aria-label="Tour">
    <ol>
<?php foreach (PAGES as $key => [$label]) { ?>
      <li><a href="/<?= $key === 'index' ? '' : e($key) . '.php' ?>"<?= $key === $name ? ' aria-current="page"' : '' ?>><span class="no" aria-hidden="true"><?= $numbers[$key] + 1 ?></span><?= e($label) ?></a></li>
<?php } ?>
    </ol>
  </nav>
</header>
<main id="main">
  <header class="top">
    <h1><?= e($title) ?></h1>
    <p class="lead"><?= e($lead) ?></p>
  </header>
<?php $body(); ?>
</main>
<footer class="foot">
  <p>Made by process <b><?= getmypid() ?></b> in <b><?= number_format(elapsedMs(), 1) ?> ms</b>, <?= e(mode()) ?> mode<?= Served::$count > 0 ? ', its request number ' . Served::$count : '' ?>. PHP <?= e(PHP_VERSION) ?>, <?= e(PHP_SAPI) ?>, <?= e(bytes(memory_get_peak_usage(true))) ?> at most.</p>
</footer>
</body>
</html>
