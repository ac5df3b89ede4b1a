<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

/* What arrived, or why nothing did; null when nothing was sent. */
$received = (static function (): ?array {
    if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST') {
        return null;
    }
    $file = $_FILES['file'] ?? null;
    $sent = (int) ($_SERVER['CONTENT_LENGTH'] ?? 0);
    if (!is_array($file) || is_array($file['error'])) {
        return ['error' => $sent > iniBytes('post_max_size')
            ? bytes($sent) . ' were sent; post_max_size allows ' . bytes(iniBytes('post_max_size')) . '.'
            : 'No file came along.'];
    }
    if ($file['error'] !== UPLOAD_ERR_OK) {
        return ['error' => match ($file['error']) {
            UPLOAD_ERR_INI_SIZE => 'The file is larger than upload_max_filesize, ' . bytes(iniBytes('upload_max_filesize')) . '.',
            UPLOAD_ERR_NO_FILE => 'No file was chosen.',
            UPLOAD_ERR_PARTIAL => 'The upload was cut short.',
            default => 'PHP could not keep the file (error ' . $file['error'] . ').',
        }];
    }

    return [
        'Name' => $file['name'],
        'Size' => number_format($file['size']) . ' bytes',
        'Type' => $file['type'],
        'SHA-256' => hash_file('sha256', $file['tmp_name']),
        'Memory that PHP took' => bytes(memory_get_peak_usage(true)),
        'Received by process' => getmypid(),
    ];
})();

if ($received !== null && str_contains($_SERVER['HTTP_ACCEPT'] ?? '', 'application/json')) {
    json($received, isset($received['error']) ? 422 : 200);

    return;
}

page('upload', function () use ($received): void {
    $limit = min(iniBytes('upload_max_filesize'), iniBytes('post_max_size'));
    ?>
  <form class="panel upload" method="post" action="/upload.php" enctype="multipart/form-data" data-upload data-limit="<?= $limit ?>">
    <label class="drop" data-upload-drop>
      <b>Choose a file, or drop it here</b>
      <span>up to <?= e(bytes($limit)) ?>; it is measured and forgotten, not kept</span>
      <input type="file" name="file">
    </label>
    <p class="row">
      <button>Send</button>
      <button type="button" class="quiet" data-upload-make hidden>Send <?= e(bytes(min($limit, 64_000_000))) ?> made up by the browser</button>
    </p>
    <div class="progress" role="progressbar" aria-label="Upload" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0" data-upload-bar hidden><i></i></div>
    <p class="note" role="status" data-upload-status></p>
  </form>

  <section class="panel" data-upload-result<?= $received === null ? ' hidden' : '' ?>>
    <header><h2>What PHP received</h2></header>
    <table class="pairs"><tbody>
<?php foreach ($received ?? [] as $key => $value) { ?>
      <tr><th scope="row"><?= e(ucfirst($key)) ?></th><td><?= e($value) ?></td></tr>
<?php } ?>
    </tbody></table>
  </section>
  <p class="aside">Whatever the size of the file, the server and PHP keep only a few pieces of it in memory.</p>
<?php
});
