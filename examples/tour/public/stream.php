<?php

declare(strict_types=1);

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

page('stream', function (): void {
    ?>
  <section class="panel" data-stream>
    <header>
      <h2>Twelve pieces, a quarter of a second apart</h2>
      <p>PHP writes a line, flushes, and sleeps. Each mark is drawn when its bytes reach the browser.</p>
    </header>
    <div class="reel" data-stream-reel aria-hidden="true"></div>
    <pre class="tape" data-stream-tape tabindex="0" aria-label="The answer so far"></pre>
    <p class="row"><button type="button" data-stream-start>Start</button> <span class="note" role="status" data-stream-status></span></p>
  </section>
  <p class="aside">Without JavaScript: <a href="/chunks.php">open the answer itself</a>, or <code>curl -N</code> it.</p>
<?php
});
