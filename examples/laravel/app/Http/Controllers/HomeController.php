<?php

namespace App\Http\Controllers;

use Illuminate\Http\Request;

/** Session and view, no database: the first page, and the one that benchmarks ask for. */
class HomeController
{
    public function __invoke(Request $request)
    {
        return view('home', ['visits' => $request->session()->increment('visits')]);
    }
}
