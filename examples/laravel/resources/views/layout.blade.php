<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ config('app.name') }}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><a href="{{ route('home') }}">{{ config('app.name') }}</a> <nav><a href="{{ route('notes') }}">Notes</a></nav></header>
<main>
@if (session('message'))
<p role="status">{{ session('message') }}</p>
@endif
@yield('content')
</main>
</body>
</html>
