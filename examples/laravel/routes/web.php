<?php

use App\Http\Controllers\HomeController;
use App\Jobs\CountWords;
use App\Models\Note;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Route;

Route::get('/', HomeController::class)->name('home');

// A model on SQLite, a form with CSRF, validation, redirect with a message; and a job for each note.
Route::get('/notes', fn () => view('notes', ['notes' => Note::query()->latest('id')->limit(20)->get()]))->name('notes');

Route::post('/notes', function (Request $request) {
    $note = Note::create($request->validate([
        'author' => 'required|string|max:80',
        'text' => 'required|string|max:500',
    ]));
    CountWords::dispatch($note);

    return redirect()->route('notes')->with('message', 'Thank you.');
});

Route::get('/notes/{note}', fn (Note $note) => response()->json($note->only('id', 'author', 'text')));

// Who am I? Said once with ?name=, kept in the session, never anybody else's.
Route::get('/me', function (Request $request) {
    if (is_string($request->query('name'))) {
        $request->session()->put('name', $request->query('name'));
    }

    return response()->json(['name' => $request->session()->get('name'), 'pid' => getmypid()]);
});

// A value through the cache store, whichever it is.
Route::get('/cache', fn () => response()->json(['count' => cache()->increment('hits')]));
