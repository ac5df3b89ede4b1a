<?php
// Made for the tests of the job script. All that it writes goes to the folder that STORAGE names.
$storage = getenv('STORAGE') ?: sys_get_temp_dir();
foreach (['SERVICES', 'PACKAGES'] as $list) {
    $_SERVER["APP_{$list}_CACHE"] = "$storage/$list.php";
}
$app = new Illuminate\Foundation\Application(dirname(__DIR__));
$app->useStoragePath($storage);
$app->singleton(Illuminate\Contracts\Console\Kernel::class, App\Kernel::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, App\Handler::class);

return $app;
