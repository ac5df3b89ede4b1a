<?php

use App\Models\Note;
use Illuminate\Support\Facades\Artisan;

Artisan::command('notes:count', function () {
    $this->info('notes: ' . Note::count());
})->describe('Say how many notes the guest book holds');
