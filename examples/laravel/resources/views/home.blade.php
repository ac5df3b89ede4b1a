@extends('layout')

@section('content')
<h1>Welcome</h1>
<p>This is your visit number <b>{{ $visits }}</b>.</p>
<p>Laravel {{ app()->version() }} on PHP {{ PHP_VERSION }}.</p>
<ul>
@foreach (['json', 'addresses', 'cache', 'stream', 'download', 'boom'] as $page)
<li><a href="/{{ $page }}">{{ ucfirst($page) }}</a></li>
@endforeach
</ul>
@endsection
