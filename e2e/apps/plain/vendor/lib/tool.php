<?php // must never be served: a library
echo 'library code ran';
