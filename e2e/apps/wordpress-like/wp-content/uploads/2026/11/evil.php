<?php

/* Somebody uploaded this. It must not run, and its source must not be shown. */

echo 'uploaded code ran';
