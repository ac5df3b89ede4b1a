<?php

declare(strict_types=1);

/* The smallest answer that names its process. */

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

json(['pid' => getmypid(), 'mode' => mode()]);
