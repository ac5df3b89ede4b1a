<?php // Writes as many pages of the boot as ?pages= says.
$pages = [];
for ($i = 0; $i < 1000; $i++) {
    $pages[] = str_repeat(chr(65 + $i % 26), 4060);
}
regie_checkpoint();
for ($i = 0; $i < $_GET['pages']; $i++) {
    $pages[$i][7] = 'x';
}
echo 'written';
