<?php

/* Somebody uploaded this. It must not run. */

echo 'uploaded code ran';
