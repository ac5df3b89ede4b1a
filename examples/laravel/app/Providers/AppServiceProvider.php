<?php

namespace App\Providers;

use Illuminate\Support\ServiceProvider;

class AppServiceProvider extends ServiceProvider
{
    public function boot()
    {
        // Laravel 8 is older than PHP 8.2: its deprecations are for its authors, and each costs time.
        error_reporting(E_ALL & ~E_DEPRECATED);
    }
}
