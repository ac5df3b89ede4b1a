<?php // The working directory is what it is, whoever has changed it.
require_once __DIR__ . '/executor.php';
behave(function () {
    $at_first = getcwd();
    $folder = sys_get_temp_dir() . '/cwd-' . bin2hex(random_bytes(8));
    mkdir("$folder/a", 0777, true);
    $folder = realpath($folder);
    chdir("$folder/a");
    $seen = [getcwd() === "$folder/a", realpath('.') === "$folder/a"];
    rename("$folder/a", "$folder/b");
    $seen[] = getcwd() === "$folder/b";
    chdir('..');
    $seen[] = getcwd() === $folder;
    rmdir('b');
    rmdir($folder);
    $seen[] = @getcwd() === false;
    chdir($at_first);
    $seen[] = getcwd() === $at_first;
    echo json_encode($seen);
});
